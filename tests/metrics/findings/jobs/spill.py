"""A sort of more than fits, or of little."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
count = 3_000_000 if sys.argv[1] == "ill" else 30_000
rows = spark.range(0, count, 1, 2).selectExpr("id", "rand(7) AS r", "md5(string(id)) AS text")
rows.orderBy("r").write.format("noop").mode("overwrite").save()
