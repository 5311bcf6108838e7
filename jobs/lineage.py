"""Show lazy evaluation: what Spark computes, when, and what `persist` saves.

An RDD is a list whose partitions are computed by executors, in parallel. Transformations (map,
reduceByKey) only extend its plan, the lineage. An action (count, sum) computes the plan from the
start, each time. Two things avoid that: rows that were persisted, and the files of a shuffle, which
Spark keeps: a second action on `sums` skips the stage before its shuffle ("skipped" in the Spark
UI). The job counts the calls of its slow function after each action.

Output, below --output:
  lineage.txt  toDebugString of both RDDs: each step of indentation is a shuffle, so a new stage
  result.json  duration and number of calls of the slow function, for each action
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from operator import add
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import SparkSession

from common import job
from common.files import HadoopFiles, join
from common.job import JobLog

LEVELS = {"memory": StorageLevel.MEMORY_ONLY, "disk": StorageLevel.DISK_ONLY}
KEYS = 10


def square_slowly(number: int, pause_s: float, calls: Any) -> tuple[int, int]:
    """Return (number modulo KEYS, its square) after a pause; adds 1 to an accumulator."""
    calls.add(1)
    time.sleep(pause_s)
    return number % KEYS, number * number


def show(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Run the actions, and write the lineage and result.json."""
    partitions = job.partitions(spark, args.partitions)
    calls = spark.sparkContext.accumulator(0)
    slow = partial(square_slowly, pause_s=args.pause_ms / 1000, calls=calls)
    numbers = spark.sparkContext.parallelize(range(args.numbers), partitions)
    with log.step("transformations"):  # no time at all: they are lazy
        squares = numbers.map(slow)
        if args.persist != "none":
            squares.persist(LEVELS[args.persist])  # lazy as well: the first action stores them
        sums = squares.reduceByKey(add, min(partitions, KEYS))
    actions = [("count of squares", squares.count), ("sum of squares", squares.values().sum)]
    actions += [("first sums", sums.collectAsMap), ("second sums", sums.collectAsMap)]
    results, measured = {}, []
    for name, action in actions:
        before, start = calls.value, time.perf_counter()
        with log.step(name):
            results[name] = action()
        duration_s = time.perf_counter() - start
        measured.append({"action": name, "s": round(duration_s, 3), "calls": calls.value - before})
        log.write(f"{name}: {measured[-1]['calls']} calls")
    lineage = "\n\n".join(rdd.toDebugString().decode() for rdd in (squares, sums))
    print(lineage, flush=True)
    files = HadoopFiles(spark)
    files.write(join(args.output, "lineage.txt"), (lineage + "\n").encode())
    figures = {"actions": measured, "calls": calls.value, "numbers": args.numbers}
    figures["sum"] = results["sum of squares"]
    figures["sums"] = {str(key): value for key, value in sorted(results["second sums"].items())}
    squares.unpersist()
    log.write_result(files, args, figures)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0."""
    parser = job.argument_parser("lineage", "Show lazy evaluation, and what persist saves.")
    add_argument = parser.add_argument
    add_argument(
        "--numbers", type=job.positive_int, default=2000, metavar="N", help="default: 2000"
    )
    add_argument(
        "--pause-ms", type=float, default=1.0, metavar="MS", help="per number (default: 1)"
    )
    add_argument(
        "--persist",
        choices=("none", *LEVELS),
        default="none",
        help="where to keep the squares (default: none)",
    )
    return job.run_job("lineage", (), partial(show, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
