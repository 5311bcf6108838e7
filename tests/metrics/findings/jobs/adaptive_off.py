"""An aggregation and a sort, with adaptive execution off or on."""

from __future__ import annotations

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.range(0, 4_000_000, 1, 4).selectExpr("id % 100000 AS k", "id AS v")
rows.groupBy("k").sum("v").orderBy("k").write.format("noop").mode("overwrite").save()
