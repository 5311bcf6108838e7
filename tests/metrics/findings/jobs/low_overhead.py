"""Short work in Python with less memory overhead than Spark's default, or with the default."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(0.5)
    return number


sc.parallelize(range(4), 4).map(work).count()
