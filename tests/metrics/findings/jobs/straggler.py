"""One task of twelve waits for something that no figure of Spark's knows, or none does."""

from __future__ import annotations

import sys
import time

from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(5 if ILL and number == 11 else 0.3)
    return number


sc.parallelize(range(12), 12).map(work).count()
