"""Small jobs on real Spark whose event logs have each finding, and others that must not.

`python tests/metrics/findings/record.py [KIND...]` records the logs that the tests replay, and
with `sample` the log of `tests/metrics/sample.py`.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from emrctl import paths
from emrctl.emulator.hadoop import hadoop_jars

HERE = Path(__file__).resolve().parent
JOBS, LOGS = HERE / "jobs", HERE / "logs"
SAMPLE = HERE.parent / "sample.py"
ROOT = HERE.parents[2]
LARGEST_BYTES = 60_000
_FOLDER = re.compile(re.escape(tempfile.gettempdir()).encode() + rb"/tmp[a-z0-9_]+")
TWO = "local-cluster[2,1,1024]"
HOSTS = "two hosts"
#: Stands for the class path of S3A, which is downloaded when a job needs it.
S3A = "the jars of S3A"
_EVERY = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.rolling.enabled": "false",
    "spark.eventLog.compress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.executor.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
}


# The longer ones first: some lie in others.
_PLACES = {
    str(HERE): "/findings",
    sys.prefix: "/venv",
    sys.base_prefix: "/python",
    str(ROOT): "/emrctl",
    str(paths.cache()): "/cache",
}


@dataclass(frozen=True)
class Case:
    """How the job of one finding is run: what both variants have, and each alone."""

    master: str = "local[2]"
    both: Mapping[str, str] = field(default_factory=dict)
    ill: Mapping[str, str] = field(default_factory=dict)
    well: Mapping[str, str] = field(default_factory=dict)
    ill_master: str | None = None

    def settings(self, variant: str) -> dict[str, str]:
        """Spark's settings of that variant."""
        own = self.ill if variant == "ill" else self.well
        master = self.ill_master if variant == "ill" and self.ill_master else self.master
        return {**_EVERY, "spark.master": master, **self.both, **own}


_ALLOCATION = {
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.schedulerBacklogTimeout": "1s",
}
CASES: dict[str, Case] = {
    "data_skew": Case(),
    "gc_straggler": Case(both={"spark.driver.memory": "512m"}),
    "fetch_straggler": Case(
        "local-cluster[3,1,1024]",
        both={"spark.shuffle.readHostLocalDisk": "false", "spark.locality.wait": "0s"},
    ),
    "slow_host": Case(TWO),
    "straggler": Case(),
    "few_partitions": Case(),
    "many_partitions": Case(
        both={"spark.sql.adaptive.enabled": "false"},
        ill={"spark.sql.shuffle.partitions": "180"},
        well={"spark.sql.shuffle.partitions": "4"},
    ),
    "small_tasks": Case(),
    "idle_executors": Case(TWO),
    "allocation_churn": Case(
        TWO,
        both={**_ALLOCATION, "spark.dynamicAllocation.minExecutors": "0"},
        ill={"spark.dynamicAllocation.executorIdleTimeout": "1s"},
        well={"spark.dynamicAllocation.executorIdleTimeout": "60s"},
    ),
    "missing_executors": Case(
        "local-cluster[1,1,1024]",
        both=_ALLOCATION,
        ill={"spark.dynamicAllocation.minExecutors": "3"},
        well={"spark.dynamicAllocation.minExecutors": "1"},
    ),
    "driver_bound": Case(),
    "gc": Case(both={"spark.driver.memory": "512m"}),
    "spill": Case(both={"spark.memory.fraction": "0.1", "spark.driver.memory": "1g"}),
    "memory_unused": Case(
        "local-cluster[1,1,1024]",
        both={"spark.executor.metrics.pollingInterval": "500ms"},
        ill={"spark.executor.memory": "4g"},
        ill_master="local-cluster[1,1,4096]",
    ),
    "memory_short": Case(
        "local-cluster[1,1,512]",
        both={"spark.executor.memory": "512m", "spark.task.maxFailures": "2"},
    ),
    "container_killed": Case(TWO),
    "small_files": Case(),
    "wide_broadcast": Case(
        "local-cluster[1,1,1024]",
        both={"spark.executor.memory": "1g", "spark.driver.memory": "2g"},
    ),
    "uncached_reuse": Case(),
    "failed_work": Case("local[2,4]"),
    "fetch_failures": Case("local[2,4]"),
    "speculation_waste": Case(
        HOSTS,  # a copy of a task runs on another host, or not at all
        both={"spark.speculation.interval": "100ms", "spark.speculation.quantile": "0.5"},
        ill={"spark.speculation": "true"},
        well={"spark.speculation": "false"},
    ),
    "dropped_events": Case(
        ill={"spark.scheduler.listenerbus.eventqueue.eventLog.capacity": "1"},
    ),
    "cold_start": Case(
        TWO,
        both={**_ALLOCATION, "spark.dynamicAllocation.minExecutors": "0"},
        ill={"spark.dynamicAllocation.schedulerBacklogTimeout": "32s"},
    ),
    "slow_ramp": Case(
        "local-cluster[4,1,512]",
        both={
            **_ALLOCATION,
            "spark.executor.memory": "512m",
            "spark.dynamicAllocation.schedulerBacklogTimeout": "2s",
            "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout": "4s",
        },
        well={"spark.dynamicAllocation.initialExecutors": "4"},
    ),
    "shuffle_bound": Case(
        "local-cluster[3,1,1024]",
        both={"spark.shuffle.readHostLocalDisk": "false", "spark.locality.wait": "0s"},
    ),
    "large_result": Case(both={"spark.driver.maxResultSize": "16m"}),
    "broadcast_timeout": Case(
        both={"spark.sql.adaptive.enabled": "false"}, ill={"spark.sql.broadcastTimeout": "1"}
    ),
    "missed_broadcast": Case(ill={"spark.sql.autoBroadcastJoinThreshold": "-1"}),
    "nested_loop_join": Case(),
    "exploding_join": Case(both={"spark.sql.autoBroadcastJoinThreshold": "-1"}),
    "python_udf": Case(),
    "cache_evicted": Case(
        both={
            "spark.memory.fraction": "0.1",
            "spark.driver.memory": "512m",
            "spark.eventLog.logBlockUpdates.enabled": "true",
            "spark.sql.inMemoryColumnarStorage.compressed": "false",
        }
    ),
    "adaptive_off": Case(ill={"spark.sql.adaptive.enabled": "false"}),
    "skew_not_split": Case(
        both={
            "spark.sql.autoBroadcastJoinThreshold": "-1",
            "spark.sql.shuffle.partitions": "8",
            "spark.sql.adaptive.coalescePartitions.enabled": "false",
        },
        well={
            "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "1m",
            "spark.sql.adaptive.advisoryPartitionSizeInBytes": "2m",
        },
    ),
    "large_partitions": Case(both={"spark.driver.memory": "2g", "spark.shuffle.compress": "false"}),
    "large_executors": Case("local-cluster[1,4,1024]", ill_master="local-cluster[1,16,1024]"),
    "low_overhead": Case("local-cluster[1,1,1024]", ill={"spark.executor.memoryOverhead": "64m"}),
    "single_partition_window": Case(),
    "long_lineage": Case(),
    "many_queries": Case(),
    "repeated_scan": Case(),
    "full_partition_scan": Case(),
    "repeated_exchange": Case(
        both={"spark.sql.autoBroadcastJoinThreshold": "-1"},
        ill={"spark.sql.exchange.reuse": "false"},
    ),
    "lost_executors": Case(
        TWO,
        both={
            "spark.executor.heartbeatInterval": "2s",
            "spark.network.timeout": "16s",
            "spark.network.timeoutInterval": "8s",
            "spark.storage.blockManagerHeartbeatTimeoutMs": "16s",
        },
    ),
    "text_format": Case(),
    "slow_commit": Case(
        both={
            "spark.driver.extraClassPath": S3A,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
            "spark.hadoop.fs.s3a.access.key": "test",
            "spark.hadoop.fs.s3a.secret.key": "test",
        }
    ),
    "excluded_executors": Case(
        TWO,
        both={
            "spark.excludeOnFailure.enabled": "true",
            "spark.excludeOnFailure.task.maxTaskAttemptsPerExecutor": "1",
            "spark.excludeOnFailure.stage.maxFailedTasksPerExecutor": "1",
            "spark.excludeOnFailure.application.maxFailedTasksPerExecutor": "1",
        },
    ),
}
VARIANTS = ("ill", "well")


def run(kind: str, variant: str, folder: Path) -> Path:
    """Run the job of a finding; return its event log below `folder`, not compressed."""
    conf = CASES[kind].settings(variant) | {"spark.app.name": f"{kind}, {variant}"}
    conf |= {key: hadoop_jars.ensure(print).s3a for key, value in conf.items() if value == S3A}
    return _run([str(JOBS / f"{kind}.py"), variant], conf, folder)


def _run(job: list[str], settings: dict[str, str], folder: Path) -> Path:
    logs = folder / "logs"
    logs.mkdir(parents=True)
    conf = settings | {
        "spark.eventLog.dir": logs.as_uri(),
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.pyspark.python": sys.executable,
    }
    with _hosts(folder, conf):
        flags = [item for key, value in conf.items() for item in ("--conf", f"{key}={value}")]
        done = subprocess.run(
            [str(hadoop_jars.spark_home() / "bin" / "spark-submit"), *flags, *job],
            cwd=folder,
            env=_environment("127.0.0.1"),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{' '.join(job)}: {done.stderr[-3000:]}")
    [log] = [path for path in logs.iterdir() if not path.name.startswith(".")]
    return log


def _environment(host: str) -> dict[str, str]:
    return {
        **os.environ,
        "SPARK_HOME": str(hadoop_jars.spark_home()),
        "JAVA_HOME": str(hadoop_jars.java_home()),
        "SPARK_LOCAL_IP": host,
        "PYTHONHASHSEED": "0",
    }


@contextmanager
def _hosts(folder: Path, conf: dict[str, str]) -> Iterator[None]:
    """A cluster of two hosts is there where `conf` asks for one: Linux has many loopbacks."""
    if conf["spark.master"] != HOSTS:
        yield
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf["spark.master"] = f"spark://127.0.0.1:{port}"
    deploy = "org.apache.spark.deploy"
    master = (f"{deploy}.master.Master", "--port", str(port))
    worker = (f"{deploy}.worker.Worker", conf["spark.master"], "--cores", "2", "--memory", "1g")
    with ExitStack() as running:
        for host, words in (("127.0.0.1", master), ("127.0.0.1", worker), ("127.0.0.2", worker)):
            running.enter_context(_daemon(folder / words[0].rpartition(".")[2] / host, host, words))
        yield


@contextmanager
def _daemon(folder: Path, host: str, words: tuple[str, ...]) -> Iterator[None]:
    folder.mkdir(parents=True)
    start = [str(hadoop_jars.spark_home() / "bin" / "spark-class"), *words]
    process = subprocess.Popen(
        [*start, "--host", host, "--webui-port", "0"],
        cwd=folder,
        env=_environment(host) | {"SPARK_WORKER_DIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def cleaned(log: bytes) -> bytes:
    """The log without what it tells of the machine that it was recorded on."""
    lines = [_cleaned_line(line) for line in log.splitlines()]
    found = b"\n".join((*lines, b""))
    for path, name in _PLACES.items():
        found = found.replace(path.encode(), name.encode())
    return _FOLDER.sub(b"/tmp/recorded", found)


def _cleaned_line(line: bytes) -> bytes:
    if not line.startswith(b'{"Event":"SparkListenerEnvironmentUpdate"'):
        return line
    event = json.loads(line)
    kept = {name: event[name] for name in ("Event", "Spark Properties")}
    return json.dumps(kept, separators=(",", ":")).encode()


def packed(log: Path) -> bytes:
    """The log as the tests keep it; `RuntimeError` where it is too large for that."""
    body = zstandard.ZstdCompressor(level=22).compress(cleaned(log.read_bytes()))
    if len(body) > LARGEST_BYTES:
        raise RuntimeError(f"{log.name}: {len(body)} bytes are more than {LARGEST_BYTES}")
    return body


def record(kind: str, variant: str) -> Path:
    """Record the log of that job among those that the tests replay; return its path."""
    with tempfile.TemporaryDirectory() as folder:
        body = packed(run(kind, variant, Path(folder)))
    place = LOGS / f"{kind}.{variant}.zstd"
    place.write_bytes(body)
    return place


def record_sample() -> Path:
    """Record the log of `sample.py`; return its path."""
    conf = _EVERY | {"spark.master": "local[2]", "spark.sql.adaptive.enabled": "false"}
    with tempfile.TemporaryDirectory() as folder:
        body = packed(_run([str(SAMPLE)], conf | {"spark.app.name": "sample"}, Path(folder)))
    place = SAMPLE.with_suffix(".zstd")
    place.write_bytes(body)
    return place


def main(kinds: list[str]) -> None:
    """Record the logs of `kinds`, or all."""
    LOGS.mkdir(exist_ok=True)
    for kind in kinds or [*CASES, "sample"]:
        if kind == "sample":
            places = [record_sample()]
        else:
            places = [record(kind, variant) for variant in VARIANTS]
        for place in places:
            sys.stderr.write(f"{place.name}: {place.stat().st_size} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
