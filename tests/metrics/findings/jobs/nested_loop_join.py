"""Two tables are joined by a comparison, or by an equal key."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
left = spark.range(0, 4_000, 1, 4).selectExpr("id AS a")
right = spark.range(0, 4_000, 1, 2).selectExpr("id AS b")
condition = left.a < right.b if sys.argv[1] == "ill" else left.a == right.b
left.join(right, condition).write.format("noop").mode("overwrite").save()
