"""Observed clusters of both kinds: EMR, and Spark standalone on EC2 instances."""
