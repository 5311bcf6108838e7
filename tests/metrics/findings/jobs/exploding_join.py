"""Two tables are joined by a key that each has a hundred times, or once."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

KEYS = 600 if sys.argv[1] == "ill" else 60_000
spark = SparkSession.builder.getOrCreate()
left = spark.range(0, 60_000, 1, 2).selectExpr(f"id % {KEYS} AS k", "id AS a")
right = spark.range(0, 60_000, 1, 2).selectExpr(f"id % {KEYS} AS k", "id AS b")
left.join(right, "k").write.format("noop").mode("overwrite").save()
