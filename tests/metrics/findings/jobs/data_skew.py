"""One key holds most of the rows, or every key as many."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
sc = SparkSession.builder.getOrCreate().sparkContext


def key(number: int) -> int:
    return 0 if ILL and number % 20 else number % 8


def work(values: Iterable[str]) -> int:
    return sum(hash(value * 250) % 7 for value in values)


rows = sc.range(600_000, numSlices=2).map(lambda number: (key(number), f"{number:040d}"))
rows.groupByKey(8).mapValues(work).count()
