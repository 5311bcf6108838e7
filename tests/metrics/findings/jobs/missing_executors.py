"""As many executors as were asked for, where the cluster has room for them."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(0.5)
    return number


sc.parallelize(range(6), 6).map(work).count()
