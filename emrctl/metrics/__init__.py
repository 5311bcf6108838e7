"""Metrics of Spark, YARN and CloudWatch: event logs, live clusters and findings."""
