"""All rows of a table are collected by the driver, or a few."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
count = 300_000 if sys.argv[1] == "ill" else 300
spark.range(0, count, 1, 4).selectExpr("id", "md5(string(id)) AS text").collect()
