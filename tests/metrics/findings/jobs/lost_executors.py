"""An executor does not answer any more, or all do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession

ILL = sys.argv[1] == "ill"
sc = SparkSession.builder.getOrCreate().sparkContext
while sc._jsc.sc().getExecutorMemoryStatus().size() < 3:
    time.sleep(0.1)


def work(number: int) -> int:
    time.sleep(1)
    if ILL and number > 1 and Path.cwd().name == "0":
        status = Path(f"/proc/{os.getppid()}/stat").read_text()
        executor = int(status.rpartition(")")[2].split()[1])
        subprocess.Popen(["sh", "-c", f"sleep 45; kill -9 {executor}"], start_new_session=True)
        os.kill(executor, signal.SIGSTOP)
        time.sleep(44)
    return number


sc.parallelize(range(4), 4).map(work).count()
