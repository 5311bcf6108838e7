"""The same work in one task, or in four, for two cores."""

from __future__ import annotations

import sys
import time

from pyspark.sql import SparkSession

PARTS = 1 if sys.argv[1] == "ill" else 4
sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(2)
    return number


sc.parallelize(range(4), PARTS).map(work).count()
