"""A small table in hundreds of files, or in two."""

from __future__ import annotations

import sys
import tempfile

from pyspark.sql import SparkSession

FILES = 120 if sys.argv[1] == "ill" else 2
spark = SparkSession.builder.getOrCreate()
with tempfile.TemporaryDirectory() as folder:
    spark.range(0, 1200, 1, FILES).write.mode("overwrite").parquet(folder)
    spark.read.parquet(folder).write.format("noop").mode("overwrite").save()
