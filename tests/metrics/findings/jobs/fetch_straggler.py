"""The executor that holds one partition's data does not answer for some seconds, or does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
folder = Path(spark.conf.get("spark.local.dir") or "")


def is_holder() -> bool:
    """Whether this is the executor of partition 7's data."""
    return Path.cwd().name == "1"


def made(_: Iterator[int]) -> Iterator[tuple[int, str]]:
    time.sleep(0.3)
    keys = [7] if is_holder() else list(range(7))
    return iter([(key, f"{n:0200d}") for key in keys for n in range(2_000)])


def held(_: Iterator[int]) -> Iterator[int]:
    """The holder takes no other task until it may go on; it says which process it is."""
    if is_holder():
        # The executor is the parent of the daemon that is this worker's parent.
        status = Path(f"/proc/{os.getppid()}/stat").read_text()
        (folder / "part").write_text(status.rpartition(")")[2].split()[1])
        (folder / "part").rename(folder / "held")
        while not (folder / "go").exists():
            time.sleep(0.05)
    time.sleep(0.3)
    return iter([1])


while sc._jsc.sc().getExecutorMemoryStatus().size() < 4:
    time.sleep(0.1)
shuffled = sc.parallelize(range(9), 9).mapPartitions(made).partitionBy(8)
shuffled.count()
thread = threading.Thread(target=sc.parallelize(range(3), 3).mapPartitions(held).count)
thread.start()
while not (folder / "held").exists():
    time.sleep(0.05)
time.sleep(1)
if ILL:
    holder = int((folder / "held").read_text())
    os.kill(holder, signal.SIGSTOP)
    threading.Timer(12, os.kill, (holder, signal.SIGCONT)).start()
shuffled.mapPartitions(lambda rows: [sum(1 for _ in rows)]).collect()
(folder / "go").touch()
thread.join()
