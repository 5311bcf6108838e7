"""A table is shuffled twice for a join with itself, or once."""

from __future__ import annotations

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
key = "repeat(string(id % 150000 + 100000), 40) AS k"
rows = spark.range(0, 300_000, 1, 4).selectExpr(key, "id AS v")
totals = rows.groupBy("k").sum("v").withColumnRenamed("sum(v)", "total")
other = totals.withColumnRenamed("total", "other")
totals.join(other, "k").write.format("noop").mode("overwrite").save()
