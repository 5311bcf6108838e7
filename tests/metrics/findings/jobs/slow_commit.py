"""A table is written to thousands of folders that are renamed one by one, or to a few."""

from __future__ import annotations

import sys
import tempfile

from pyspark.sql import SparkSession

FOLDERS = 2_000 if sys.argv[1] == "ill" else 4
spark = SparkSession.builder.getOrCreate()
with tempfile.TemporaryDirectory() as folder:
    rows = spark.range(0, FOLDERS, 1, 2).selectExpr("id AS k", "id AS v")
    rows.write.mode("overwrite").partitionBy("k").csv(folder)
