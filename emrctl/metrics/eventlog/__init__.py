"""Read Spark event logs without Spark."""
