"""Read running clusters: YARN, Spark's REST API, a standalone master, CloudWatch."""
