"""Each round of an iteration builds on all earlier ones, or on a checkpoint."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext
rows = sc.parallelize(range(4), 2)
for number in range(112):
    rows = rows.map(lambda value: value + 1).persist()
    if sys.argv[1] != "ill" and number % 8 == 7:
        rows.localCheckpoint()
    if number % 4 == 3:
        rows.count()
