"""Bursts of work with pauses longer than executors may idle, or shorter."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(0.6)
    return number


for _ in range(3):
    sc.parallelize(range(6), 6).map(work).count()
    time.sleep(3)
