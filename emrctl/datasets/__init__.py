"""Pictures that the jobs read, from this machine or public data sets onto the bucket."""
