"""One task calls for the garbage collector again and again, or none does."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

CALL = "java_method('java.lang.System', 'gc')" if sys.argv[1] == "ill" else "'none'"
spark = SparkSession.builder.getOrCreate()
rows = spark.range(0, 1200, 1, 12).selectExpr(f"if(id >= 1100, {CALL}, 'none') AS called")
rows.write.format("noop").mode("overwrite").save()
