"""One executor works and the other looks on, or both work."""

from __future__ import annotations

import sys
import time

from pyspark.sql import SparkSession

PARTS = 1 if sys.argv[1] == "ill" else 4
sc = SparkSession.builder.getOrCreate().sparkContext
while sc._jsc.sc().getExecutorMemoryStatus().size() < 3:
    time.sleep(0.1)


def work(number: int) -> int:
    time.sleep(3.5)
    return number


sc.parallelize(range(4), PARTS).map(work).count()
