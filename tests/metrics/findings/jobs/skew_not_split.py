"""A skewed join partition that is too small for adaptive execution to split, or large enough."""

from __future__ import annotations

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
key = "if(id % 20 = 0, id % 1000, 0)"
large = spark.range(0, 1_200_000, 1, 4).selectExpr(f"{key} AS k", "md5(string(id)) AS text")
small = spark.range(0, 1_000, 1, 2).selectExpr("id AS k", "md5(string(id)) AS other")
joined = large.join(small, "k").selectExpr("md5(md5(md5(concat(text, other)))) AS hash")
joined.write.format("noop").mode("overwrite").save()
