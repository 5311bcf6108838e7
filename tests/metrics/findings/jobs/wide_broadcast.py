"""A table of a hundred megabytes is broadcast by a hint, or a small one is."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import broadcast

spark = SparkSession.builder.getOrCreate()
count = 1_400_000 if sys.argv[1] == "ill" else 1_000
table = spark.range(0, count, 1, 2).selectExpr("id", "repeat(md5(string(id)), 2) AS text")
rows = spark.range(0, 4_000, 1, 2).join(broadcast(table), "id")
rows.write.format("noop").mode("overwrite").save()
