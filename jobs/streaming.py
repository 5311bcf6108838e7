"""Count the events of a stream by key and window of time, until it is stopped.

A streaming query is a small Spark job (micro-batch) for every portion of new events. Windows are
kept as state on the executors; a window is written once the watermark passes its end: the latest
time of an event seen, less --late seconds. Events that arrive later are dropped.

The query stops when a file OUTPUT/stop is created (emrctl cancel --graceful), after --seconds, or
with --once when all events were read. Its offsets and state are in OUTPUT/checkpoint: a job with
the same --output continues where the last one stopped, also after it was cancelled.

Events are JSON with time, key and value: lines of files, also of files that are added later, or
values of Kafka, which needs --packages org.apache.spark:spark-sql-kafka-0-10_2.12:VERSION.
Output, below --output: windows/ (Parquet: start, end, key, events, total) and result.json, which is
written every few seconds, so that a cancelled job has one.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession, functions

from common import job
from common.files import HadoopFiles, join
from common.job import JobError, JobLog
from common.streams import BatchFigures

EVENT = "time timestamp, key string, value double"
REPORT_S = 5  # between two versions of result.json


def events(spark: SparkSession, args: argparse.Namespace) -> DataFrame:
    """Return the stream of events: time, key, value."""
    if args.source == "files":
        reader = spark.readStream.schema(EVENT).option("maxFilesPerTrigger", args.max_files)
        return reader.json(args.input)
    if args.source == "rate":
        rows = spark.readStream.format("rate").option("rowsPerSecond", args.rate).load()
        return rows.selectExpr("timestamp time", "string(value % 10) key", "double(value) value")
    kafka = spark.readStream.format("kafka").option("kafka.bootstrap.servers", args.servers)
    rows = kafka.option("subscribe", args.input).option("startingOffsets", "earliest").load()
    event = functions.from_json(rows.value.cast("string"), EVENT).alias("event")
    return rows.select(event).select("event.*")


def count(stream: DataFrame, window_s: int, late_s: int) -> DataFrame:
    """Return the number of events and the total of their values, by window and key."""
    window = functions.window("time", f"{window_s} seconds")
    groups = stream.withWatermark("time", f"{late_s} seconds").groupBy(window, "key")
    totals = groups.agg(functions.expr("count(*) events"), functions.expr("sum(value) total"))
    return totals.select("window.start", "window.end", "key", "events", "total")


def follow(query: Any, files: HadoopFiles, args: argparse.Namespace, log: JobLog) -> BatchFigures:
    """Return the figures of a query once it has ended, or is stopped on request.

    It raises the exception of a failed query. A batch that `stop` interrupts is repeated by the
    next job with the same --output.
    """
    start, report_at, figures = time.monotonic(), 0.0, BatchFigures()
    while not query.awaitTermination(1):
        if figures.add(query.recentProgress) and time.monotonic() > report_at:
            log.write_result(files, args, figures.to_json(), final=False)
            report_at = time.monotonic() + REPORT_S
        late = args.seconds is not None and time.monotonic() - start > args.seconds
        if late or files.exists(join(args.output, "stop")):
            log.write("stopping")
            query.stop()
    figures.add(query.recentProgress)
    return figures


def run(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Run the query until it is stopped, and write result.json."""
    files = HadoopFiles(spark)
    if args.source == "files" and not files.exists(args.input):
        raise JobError(f"--input {args.input}: no such folder")
    windows = count(events(spark, args), args.window, args.late)
    writer = windows.writeStream.outputMode("append").format("parquet")
    writer = writer.option("checkpointLocation", join(args.output, "checkpoint"))
    ready = (
        writer.trigger(availableNow=True)
        if args.once
        else writer.trigger(processingTime="1 second")
    )
    with log.step("stream"):
        figures = follow(ready.start(join(args.output, "windows")), files, args, log)
    log.write_result(files, args, figures.to_json())
    files.delete(join(args.output, "stop"))  # here, so that a request before the start counts


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the input."""
    parser = job.argument_parser("streaming", "Count the events of a stream.", partitions=False)
    add, count_ = parser.add_argument, job.positive_int
    add("--source", choices=("files", "rate", "kafka"), default="rate", help="default: rate")
    add("--input", metavar="PATH|TOPIC", help="folder of JSON files, or topic of Kafka")
    add("--servers", metavar="HOST:PORT", help="of Kafka")
    add("--rate", type=count_, default=100, metavar="N", help="rows per second (default: 100)")
    add("--max-files", type=count_, default=10, metavar="N", help="files per batch (default: 10)")
    add("--window", type=count_, default=10, metavar="S", help="seconds (default: 10)")
    add("--late", type=count_, default=30, metavar="S", help="seconds (default: 30)")
    add("--seconds", type=job.positive, metavar="S", help="stop after this time")
    add("--once", action="store_true", help="stop when all events were read")
    args = parser.parse_args(argv)
    if args.source != "rate" and (not args.input or (args.source == "kafka" and not args.servers)):
        parser.error("--source files needs --input; --source kafka needs --input and --servers")
    return job.run_job("streaming", (), partial(run, args))


if __name__ == "__main__":
    sys.exit(main())
