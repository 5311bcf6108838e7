"""A text that no heap of that size holds, or a small one."""

from __future__ import annotations

import contextlib
import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
length = 1_500_000_000 if sys.argv[1] == "ill" else 1_000
rows = spark.range(0, 2, 1, 2).selectExpr(f"length(repeat(string(id), {length})) AS length")
with contextlib.suppress(Exception):
    rows.write.format("noop").mode("overwrite").save()
