"""Record the event logs that bench_predict.py reads, in a folder outside the repository.

Each job runs at 1, 2, 4, 8 and 16 executors of one core in Spark's local cluster, one run after
another. Tasks sleep, but executors need CPU time to start: record on a quiet machine. Logs that
exist are kept. Recording takes about half an hour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from emrctl.emulator.hadoop import hadoop_jars

_JOBS = Path(__file__).with_name("predict_jobs.py")
COUNTS = (1, 2, 4, 8, 16)
# The tasks of `cpu` compute: more executors than cores would not be faster.
MOST_COMPUTING = 2
_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.rolling.enabled": "false",
    "spark.eventLog.compress": "true",
    "spark.executor.memory": "512m",
    "spark.executor.cores": "1",
    "spark.driver.memory": "1g",
    "spark.executor.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
}
_WAIT = {
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
}
_DYNAMIC = {
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.minExecutors": "1",
    "spark.dynamicAllocation.executorIdleTimeout": "2s",
}
#: Settings of each job; all others wait for their executors before the first job.
CASES: dict[str, dict[str, str]] = {
    "skewed": _WAIT,
    "short": _WAIT,
    "dag": _WAIT,
    "parallel": _WAIT,
    "fair": {"spark.scheduler.mode": "FAIR", **_WAIT},
    "gaps": {},
    "dynamic": _DYNAMIC,
    "query": _WAIT,
    "cpu": _WAIT,
}


def main() -> None:
    """Record what the folder lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="folder of the logs JOB.COUNT")
    parser.add_argument("--jobs", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument(
        "--counts", nargs="+", type=int, default=COUNTS, help="numbers of executors"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the task times (1)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.jobs:
        for count in options.counts:
            log = options.folder / f"{name}.{count}"
            if log.exists() or (name == "cpu" and count > MOST_COMPUTING):
                continue
            load = os.getloadavg()[0]
            log.write_bytes(record(name, count, options.scale))
            size = log.stat().st_size
            print(f"{log.name}: {size} bytes, load {load:.1f} before", flush=True)


def record(name: str, count: int, scale: float) -> bytes:
    """Run the job on `count` executors and return its event log."""
    with tempfile.TemporaryDirectory(prefix="emrctl-bench-") as work:
        logs = Path(work, "logs")
        logs.mkdir()
        conf = {
            **_SETTINGS,
            **CASES[name],
            "spark.master": f"local-cluster[{count},1,512]",
            "spark.emrctl.scale": str(scale),
            "spark.cores.max": str(count),
            "spark.dynamicAllocation.maxExecutors": str(count),
            "spark.eventLog.dir": logs.as_uri(),
            "spark.local.dir": str(Path(work, "local")),
            "spark.sql.warehouse.dir": str(Path(work, "warehouse")),
            "spark.pyspark.python": sys.executable,
        }
        if "spark.dynamicAllocation.enabled" not in conf:
            conf["spark.executor.instances"] = str(count)
        flags = [item for key, value in conf.items() for item in ("--conf", f"{key}={value}")]
        home = hadoop_jars.spark_home()
        done = subprocess.run(
            [str(home / "bin" / "spark-submit"), *flags, str(_JOBS), name],
            cwd=work,
            env={
                **os.environ,
                "SPARK_HOME": str(home),
                "JAVA_HOME": str(hadoop_jars.java_home()),
                "SPARK_LOCAL_IP": "127.0.0.1",
                "PYTHONHASHSEED": "0",
            },
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name} on {count} executors: {done.stderr[-3000:]}")
        [log] = [path for path in logs.iterdir() if not path.name.startswith(".")]
        return log.read_bytes()


if __name__ == "__main__":
    main()
