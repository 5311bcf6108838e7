"""A table is read from CSV files, or from Parquet."""

from __future__ import annotations

import sys
import tempfile

from pyspark.sql import SparkSession

FORMAT = "csv" if sys.argv[1] == "ill" else "parquet"
spark = SparkSession.builder.getOrCreate()
with tempfile.TemporaryDirectory() as folder:
    rows = spark.range(0, 1_100_000, 1, 4).selectExpr("id", "repeat(md5(string(id)), 4) AS text")
    rows.write.mode("overwrite").format(FORMAT).save(folder)
    read = spark.read.schema("id LONG, text STRING").format(FORMAT).load(folder)
    read.where("id % 7 = 0").write.format("noop").mode("overwrite").save()
