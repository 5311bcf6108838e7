"""A function of Python is called for each row, or a built-in function that does the same."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, length, udf

spark = SparkSession.builder.getOrCreate()
rows = spark.range(0, 1_000_000, 1, 4).selectExpr("repeat(md5(string(id)), 2) AS text")
counted = udf(len, "int") if sys.argv[1] == "ill" else length
rows.select(counted(col("text")).alias("length")).write.format("noop").mode("overwrite").save()
