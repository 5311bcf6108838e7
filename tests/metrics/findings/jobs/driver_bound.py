"""The driver thinks for long between two jobs, or goes on at once."""

from __future__ import annotations

import sys
import time

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(1)
    return number


for _ in range(3):
    sc.parallelize(range(4), 4).map(work).count()
    time.sleep(6 if sys.argv[1] == "ill" else 0)
