"""Tasks that work for a while and then fail the first time, or do not."""

from __future__ import annotations

import sys
import time

from pyspark import TaskContext
from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(0.6)
    context = TaskContext.get()
    if ILL and context is not None and context.attemptNumber() == 0 and number % 2:
        raise ValueError("the first attempt fails")
    return number


sc.parallelize(range(8), 8).map(work).count()
