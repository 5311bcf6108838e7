"""Three queries read the same files, or the same cached table."""

from __future__ import annotations

import sys
import tempfile

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
with tempfile.TemporaryDirectory() as folder:
    rows = spark.range(0, 1_500_000, 1, 4).selectExpr("id % 50 AS k", "md5(string(id)) AS text")
    rows.write.mode("overwrite").parquet(folder)
    read = spark.read.parquet(folder)
    if sys.argv[1] != "ill":
        read.cache()
    for smallest in (1, 2, 3):
        read.groupBy("k").max("k").where(f"k > {smallest}").count()
        read.selectExpr("max(text)", "max(k)").collect()
