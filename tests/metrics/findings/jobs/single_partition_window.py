"""Rows are numbered over the whole table, or within each of many groups."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

GROUPS = "" if sys.argv[1] == "ill" else "PARTITION BY k"
spark = SparkSession.builder.getOrCreate()
rows = spark.range(0, 1_500_000, 1, 4).selectExpr("id % 1000 AS k", "rand(7) AS r")
numbered = rows.selectExpr("k", f"row_number() OVER ({GROUPS} ORDER BY r) AS number")
numbered.write.format("noop").mode("overwrite").save()
