"""A large table is joined with a small one by sorting both, or by broadcasting the small one."""

from __future__ import annotations

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
large = spark.range(0, 2_500_000, 1, 4).selectExpr("id % 1000 AS k", "md5(string(id)) AS text")
small = spark.range(0, 1_000, 1, 2).selectExpr("id AS k", "id * 2 AS v")
large.join(small, "k").write.format("noop").mode("overwrite").save()
