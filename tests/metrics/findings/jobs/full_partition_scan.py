"""A table of forty days is filtered by another column, or by the day."""

from __future__ import annotations

import sys
import tempfile

from pyspark.sql import SparkSession

COLUMN = "number" if sys.argv[1] == "ill" else "day"
spark = SparkSession.builder.getOrCreate()
with tempfile.TemporaryDirectory() as folder:
    rows = spark.range(0, 400, 1, 1).selectExpr("id % 40 AS day", "id % 40 AS number", "id")
    rows.write.mode("overwrite").partitionBy("day").parquet(folder)
    read = spark.read.parquet(folder).where(f"{COLUMN} = 7")
    read.write.format("noop").mode("overwrite").save()
