"""Half of the tasks take long wherever they run, and are copied, or are let be."""

from __future__ import annotations

import time

from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext
while sc._jsc.sc().getExecutorMemoryStatus().size() < 3:
    time.sleep(0.1)


def work(number: int) -> int:
    time.sleep(8 if number > 5 else 0.2)
    return number


sc.parallelize([0] * 8, 8).map(work).count()  # the first task of any worker is slow
sc.parallelize(range(8), 8).map(work).count()
time.sleep(3)  # until the ends of the copies are in the log
