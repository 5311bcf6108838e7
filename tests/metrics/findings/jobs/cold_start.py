"""A short stage that waits for its first executor for half a minute, or only briefly."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(1)
    return number


sc.parallelize(range(6), 6).map(work).count()
