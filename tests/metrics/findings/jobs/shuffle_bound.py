"""The executor that holds the shuffled data does not answer for some seconds, or does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
folder = Path(spark.conf.get("spark.local.dir") or "")
while sc._jsc.sc().getExecutorMemoryStatus().size() < 4:
    time.sleep(0.1)


def made(_: Iterator[int]) -> Iterator[tuple[int, str]]:
    """Return data for all partitions, from executor 1 only; note its process."""
    time.sleep(0.5)
    if Path.cwd().name != "1":
        return iter(())
    status = Path(f"/proc/{os.getppid()}/stat").read_text()
    (folder / "executor").write_text(status.rpartition(")")[2].split()[1])
    return iter([(key, f"{n:0200d}") for key in range(6) for n in range(2_000)])


def held(values: Iterator[tuple[int, str]]) -> Iterator[int]:
    return iter([sum(1 for _ in values)])


shuffled = sc.parallelize(range(9), 9).mapPartitions(made).partitionBy(6)
shuffled.count()
if ILL:
    executor = int((folder / "executor").read_text())
    for _ in range(2):
        os.kill(executor, signal.SIGSTOP)
        subprocess.Popen(["sh", "-c", f"sleep 15; kill -CONT {executor}"])
        shuffled.mapPartitions(held).count()
else:
    shuffled.mapPartitions(held).count()
