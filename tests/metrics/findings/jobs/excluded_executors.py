"""Tasks fail on one of two executors until it is excluded, or on none."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
sc = SparkSession.builder.getOrCreate().sparkContext
while sc._jsc.sc().getExecutorMemoryStatus().size() < 3:
    time.sleep(0.1)


def work(number: int) -> int:
    time.sleep(0.4)
    if ILL and Path.cwd().name == "1":
        raise ValueError("this executor fails")
    return number


for _ in range(2):
    sc.parallelize(range(8), 8).map(work).count()
