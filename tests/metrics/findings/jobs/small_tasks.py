"""A short list in hundreds of slices, or in four."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

SLICES = 400 if sys.argv[1] == "ill" else 4
spark = SparkSession.builder.getOrCreate()
for _ in range(2):
    spark.range(0, 4000, 1, SLICES).write.format("noop").mode("overwrite").save()
