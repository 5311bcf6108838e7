"""A table to broadcast that takes longer than the time-out of a broadcast, or not."""

from __future__ import annotations

import contextlib
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import broadcast

WAIT = "java_method('java.lang.Thread', 'sleep', 3000L)" if sys.argv[1] == "ill" else "''"
spark = SparkSession.builder.getOrCreate()
small = spark.range(0, 2, 1, 2).selectExpr("id", f"{WAIT} AS slept")
rows = spark.range(0, 4_000, 1, 2).join(broadcast(small), "id")
with contextlib.suppress(Exception):
    rows.write.format("noop").mode("overwrite").save()
