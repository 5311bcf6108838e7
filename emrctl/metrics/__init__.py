"""What Spark and YARN say a run did, in one shape."""
