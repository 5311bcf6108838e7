"""Shuffled data that is gone from the disk when it is read again, or is still there."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext


def work(number: int) -> tuple[int, int]:
    time.sleep(0.6)
    return number % 4, number


shuffled = sc.parallelize(range(4), 4).map(work).partitionBy(4)
shuffled.count()
if sys.argv[1] == "ill":
    for path in Path(spark.conf.get("spark.local.dir") or "").rglob("shuffle_*.data"):
        path.unlink()
shuffled.values().count()
