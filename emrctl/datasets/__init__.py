"""Upload pictures for the jobs to the bucket: local folders and public data sets."""
