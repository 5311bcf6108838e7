"""Half a gigabyte is shuffled into one partition, or a tenth of it into eight."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
spark = SparkSession.builder.getOrCreate()
count = 560_000 if ILL else 56_000
rows = spark.range(0, count, 1, 8).selectExpr("id", "repeat('x', 1000) AS text")
rows.repartition(1 if ILL else 8).write.format("noop").mode("overwrite").save()
