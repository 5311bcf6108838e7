"""Read running clusters: YARN, Spark's REST API and a standalone master."""
