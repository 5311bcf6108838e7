"""Summarize orders with the pandas API on Spark, Spark's DataFrame and pandas: the same result.

The pandas API on Spark has pandas' functions, and Spark's plans behind them: a grouping is a
shuffle here, too. What it adds is an index for each frame. --index sequence numbers the rows in one
task, because each number depends on the rows before; distributed-sequence counts the rows of each
partition first, in a job of its own; distributed gives numbers that only increase. pandas itself
(toPandas) needs all rows in the driver's memory.

Output, below --output:
  summary/     Parquet: region, count, sum, mean, share of the total sum
  result.json  step durations by way; groups, and the largest difference between the ways
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession, functions

from common import job
from common.files import HadoopFiles, join
from common.job import JobLog

REGIONS = 50
INDEXES = ("distributed-sequence", "sequence", "distributed")
OLD_NAMES = {"NaN": "nan", "float_": "float64", "string_": "bytes_", "unicode_": "str_"}


def pandas_on_spark(index: str) -> Any:
    """Return the module pyspark.pandas with a type of index; also with NumPy 2 and PySpark 3.5."""
    for old, new in OLD_NAMES.items():
        if not hasattr(np, old):
            setattr(np, old, getattr(np, new))
    os.environ.setdefault("PYARROW_IGNORE_TIMEZONE", "1")
    import pyspark.pandas as ps

    ps.set_option("compute.default_index_type", index)
    return ps


def orders(spark: SparkSession, rows: int, partitions: int) -> DataFrame:
    """Return generated orders: number, region, amount. They do not depend on the partitions."""
    numbers = spark.range(0, rows, numPartitions=partitions)
    region = functions.expr(f"concat('region', pmod(hash(id), {REGIONS})) region")
    return numbers.select("id", region, functions.expr("pmod(hash(id, 7), 10000) / 100 amount"))


def by_pandas(frame: Any) -> Any:
    """Summarize a frame of pandas, or of the pandas API on Spark: the code is the same."""
    frame = frame.reset_index()  # the index becomes a column
    # index >= 0 is always true: Spark does not compute an index that nothing uses.
    large = frame[(frame["amount"] > 1) & (frame["index"] >= 0)]
    summary = large.groupby("region").agg({"amount": ["count", "sum", "mean"]})
    summary.columns = ["count", "sum", "mean"]
    summary["share"] = summary["sum"] / summary["sum"].sum()
    return summary.sort_index()


def by_spark(frame: DataFrame) -> DataFrame:
    """Summarize with Spark's DataFrame."""
    large = frame.where("amount > 1").groupBy("region")
    summary = large.agg(
        functions.count("amount").alias("count"),
        functions.sum("amount").alias("sum"),
        functions.mean("amount").alias("mean"),
    )
    total = functions.lit(summary.agg(functions.sum("sum")).first()[0])
    return summary.withColumn("share", summary["sum"] / total).orderBy("region")


def summarize(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Summarize in three ways, compare, and write the outputs."""
    partitions = job.partitions(spark, args.partitions)
    data = orders(spark, args.rows, partitions).persist()
    ps = pandas_on_spark(args.index)
    with log.step("generate"):
        data.count()
    with log.step("spark"):
        expected = by_spark(data).toPandas().set_index("region")
    with log.step("pandas api"):
        summary = by_pandas(ps.DataFrame(data))
        found = summary.to_pandas()
    ways = [found]
    if args.collect:
        with log.step("pandas"):
            ways.append(by_pandas(data.toPandas()))
    largest = max(float(np.abs(way - expected).max().max()) for way in ways)
    rows = spark.createDataFrame(pd.DataFrame(found).reset_index())
    rows.write.mode("overwrite").parquet(join(args.output, "summary"))
    figures = {"rows": args.rows, "groups": len(found), "largest_difference": largest}
    figures["orders"], figures["total"] = int(found["count"].sum()), float(found["sum"].sum())
    log.write_result(HadoopFiles(spark), args, figures)
    data.unpersist()


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0."""
    parser = job.argument_parser("pandasapi", "Summarize orders with the pandas API on Spark.")
    add, count = parser.add_argument, job.positive_int
    add("--rows", type=count, default=1_000_000, metavar="N", help="default: 1000000")
    add("--index", choices=INDEXES, default=INDEXES[0], help=f"default: {INDEXES[0]}")
    add("--collect", action="store_true", help="summarize with pandas in the driver, too")
    modules = ("numpy", "pandas", "pyarrow")
    return job.run_job("pandasapi", modules, partial(summarize, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
