"""Ten jobs with SQL, shuffles and cached data: the event log that tests cut, pack and damage."""

from __future__ import annotations

from operator import add

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

spark = SparkSession.builder.getOrCreate()
numbers = spark.range(0, 40_000, 1, 8).withColumn("key", f.col("id") % 97).cache()
numbers.count()
sums = numbers.groupBy("key").agg(f.sum("id").alias("total"), f.max("id").alias("largest"))
sums.orderBy(f.desc("total")).limit(5).collect()
joined = sums.join(numbers.filter("id < 1000"), "key").withColumn(
    "share", f.col("id") / f.col("total")
)
joined.selectExpr("avg(share)", "stddev(share)", "count(distinct largest)").collect()
joined.write.mode("overwrite").format("noop").save()
pairs = spark.sparkContext.parallelize(range(3_000), 6).map(lambda n: (n % 11, n))
pairs.reduceByKey(add, 3).collect()
pairs.sortByKey(numPartitions=2).count()
spark.stop()
