"""More tasks than one executor can run soon, with executors added one by one, or at once."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(1)
    return number


sc.parallelize(range(40), 40).map(work).count()
