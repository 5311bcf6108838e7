"""Short work on an executor of sixteen cores, or of four."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(0.5)
    return number


sc.parallelize(range(32), 32).map(work).count()
