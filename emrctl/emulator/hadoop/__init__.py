"""Hadoop and Spark on this machine: jars, configuration, YARN, history server."""
