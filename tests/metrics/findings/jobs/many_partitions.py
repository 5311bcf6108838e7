"""A few thousand rows shuffled into hundreds of partitions, or into four."""

from __future__ import annotations

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.range(0, 4000, 1, 2).selectExpr("id % 1000 AS k", "id AS v")
for _ in range(2):
    rows.groupBy("k").sum("v").write.format("noop").mode("overwrite").save()
