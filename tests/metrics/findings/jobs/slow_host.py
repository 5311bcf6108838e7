"""Tasks on one of two executors take ten times as long, or as long as on the other."""

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
    time.sleep(2 if ILL and Path.cwd().name == "1" else 0.2)
    return number


sc.parallelize(range(44), 44).map(work).count()
