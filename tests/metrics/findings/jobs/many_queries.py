"""A query for each of many keys, or one query for all."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

ROUNDS = 110 if sys.argv[1] == "ill" else 3
spark = SparkSession.builder.getOrCreate()
for number in range(ROUNDS):
    spark.range(0, 100, 1, 1).where(f"id = {number}").collect()
