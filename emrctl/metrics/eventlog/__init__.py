"""Reader of Spark event logs."""
