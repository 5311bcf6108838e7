"""What clusters, runs and single resources cost."""
