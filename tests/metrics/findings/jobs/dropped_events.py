"""Many short tasks, with a listener queue too short for their events, or long enough."""

from __future__ import annotations

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
for _ in range(2):
    spark.range(0, 4000, 1, 120).write.format("noop").mode("overwrite").save()
