"""A table on S3 is written to many folders whose files are copied one by one, or to a few."""

from __future__ import annotations

import sys

import boto3
from moto.server import ThreadedMotoServer
from pyspark.sql import SparkSession

FOLDERS = 150 if sys.argv[1] == "ill" else 4
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
endpoint = "http://{}:{}".format(*server.get_host_and_port())
session = boto3.Session("test", "test", region_name="us-east-1")
session.client("s3", endpoint_url=endpoint).create_bucket(Bucket="bucket")
spark = SparkSession.builder.config("spark.hadoop.fs.s3a.endpoint", endpoint).getOrCreate()
rows = spark.range(0, FOLDERS, 1, 2).selectExpr("id AS k", "id AS v")
rows.write.mode("overwrite").partitionBy("k").csv("s3a://bucket/table")
server.stop()
