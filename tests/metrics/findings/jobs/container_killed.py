"""An executor is killed from outside, as YARN does where a container takes too much, or is not."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
sc = SparkSession.builder.getOrCreate().sparkContext


def work(number: int) -> int:
    time.sleep(1)
    if ILL and number == 3 and Path.cwd().name == "0":
        status = Path(f"/proc/{os.getppid()}/stat").read_text()
        os.kill(int(status.rpartition(")")[2].split()[1]), signal.SIGKILL)
    return number


sc.parallelize(range(4), 4).map(work).count()
