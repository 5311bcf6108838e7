"""Tasks that keep the heap nearly full while they make short-lived objects, or do not."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
spark = SparkSession.builder.getOrCreate()
# What lives long leaves the short-lived little room: the collector runs again and again.
filled = spark._sc._gateway.new_array(spark._jvm.long, 38_000_000 if ILL else 1)
length = 100_000 if ILL else 200
array = f"array_sort(transform(sequence(1, {length}), i -> md5(concat('text of', i, id))))"
rows = spark.range(0, 24, 1, 8).selectExpr(f"element_at({array}, 1) AS first")
rows.write.format("noop").mode("overwrite").save()
