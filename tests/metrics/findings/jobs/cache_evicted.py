"""A table is persisted that does not fit into the memory, or that fits."""

from __future__ import annotations

import sys

from pyspark import StorageLevel
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
count = 40_000 if sys.argv[1] == "ill" else 4_000
rows = spark.range(0, count, 1, 40).selectExpr("id", "repeat(string(id), 180) AS text")
rows.persist(StorageLevel(False, True, False, True))  # in memory only, not serialized
for _ in range(2):
    rows.write.format("noop").mode("overwrite").save()
