"""Some seconds of work that needs next to no heap."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(3)
    return number


sc.parallelize(range(5), 5).map(work).count()
