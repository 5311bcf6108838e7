"""Steps on Spark's standalone master and workers on emulated EC2 instances."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from emrctl import standalone
from emrctl.runs.backends.base import Step
from emrctl.runs.backends.standalone import Ec2Backend
from emrctl.standalone.parallel import ParallelNodes
from tests.standalone.cluster import BUCKET, Ec2TestCluster

pytestmark = pytest.mark.spark

JOB = """
import sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("t").getOrCreate()
pause = float(sys.argv[1])
def twice(number):
    time.sleep(pause)
    return number * 2
numbers = spark.sparkContext.parallelize(range(16), 16).map(twice)
pairs = numbers.map(lambda one: (one % 4, one)).reduceByKey(lambda a, b: a + b, 4)
time.sleep(pause)
print("sum", sum(value for _, value in pairs.collect()))
if len(sys.argv) > 2:
    spark.createDataFrame([(1, "é")], ["n", "c"]).write.mode("overwrite").parquet(sys.argv[2])
"""
QUICK = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
SMALL = (
    *("--executor-memory", "512m", "--executor-cores", "4"),
    *("--conf", f"spark.executor.extraJavaOptions={QUICK}"),
    *("--conf", f"spark.driver.extraJavaOptions={QUICK}"),
)


def submit(
    one: Ec2TestCluster, pause_s: float, name: str = "job", *, out: str = ""
) -> tuple[Ec2Backend, str]:
    key = f"code/{name}.py"
    one.target.client("s3").put_object(Bucket=BUCKET, Key=key, Body=JOB.encode())
    backend = one.backend
    more = (out,) if out else ()
    command = ("spark-submit", *SMALL, f"s3://{BUCKET}/{key}", str(pause_s), *more)
    return backend, backend.submit(name, command)


def finished(backend: Ec2Backend, id_: str, timeout_s: float = 240) -> Step:
    found: Step = until(lambda: backend.step(id_), lambda step: step.finished, timeout_s)
    return found


def until(look: Callable[[], Any], good: Callable[[Any], bool], timeout_s: float = 120) -> Any:
    end = time.monotonic() + timeout_s
    while not good(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.2)
    return found


def log(backend: Ec2Backend, id_: str, name: str) -> str:
    found = {one.name: one.open().read().decode() for one in backend.step_logs(id_)}
    return found.get(name, "")


def at_work(one: Ec2TestCluster, id_: str, name: str) -> None:
    """Wait until the worker runs tasks of the step."""
    node = next(item for item in one.cluster.nodes if item.name == name)
    word = f"({node.private_ip}, executor"
    until(lambda: log(one.backend, id_, "step/stderr"), lambda text: word in text)


def application(backend: Ec2Backend, id_: str) -> str:
    found = re.search(r"app-\d{14}-\d{4}", log(backend, id_, "step/stderr"))
    assert found is not None
    return found[0]


def processes_of(one: Ec2TestCluster, name: str, word: str) -> Iterator[psutil.Process]:
    """Yield the node's processes with that word in their command line."""
    node = next(item for item in one.cluster.nodes if item.name == name)
    for process in psutil.process_iter():
        try:
            if word in process.cmdline() and process.environ().get("EMRCTL_INSTANCE") == node.id:
                yield process
        except psutil.Error:
            continue


MASTER, WORKER = (f"org.apache.spark.deploy.{name}" for name in ("master.Master", "worker.Worker"))
EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


def workers(one: Ec2TestCluster) -> list[dict[str, Any]]:
    """Return the master's description of its workers."""
    with ParallelNodes(one.target, one.cluster) as connected:
        found: list[dict[str, Any]] = json.loads(
            connected.find("primary").query("bash emrctl/bin/master workers")
        )
    return found


def up(one: Ec2TestCluster) -> None:
    standalone.set_up(one.project, one.target, one.cluster, {}, one.hear)


def test_step_runs_detached_and_stores_logs_and_event_log(
    make: Callable[..., Ec2TestCluster],
) -> None:
    one = make(2)
    up(one)
    assert one.lines("primary")[-1] == "the master has 2 workers with 8 cores"
    secret = (one.root("primary") / "emrctl/secret").read_text()
    assert len(secret) == 64
    assert (one.root("worker-2") / "emrctl/secret").read_text() == secret
    for name in ("secret", "conf/spark-defaults.conf"):
        assert (one.root("primary") / "emrctl" / name).stat().st_mode & 0o777 == 0o600

    backend, id_ = submit(one, 0.2, out=f"s3://{BUCKET}/out/job")
    until(lambda: list(processes_of(one, "worker-1", EXECUTOR)), bool)
    for process in psutil.process_iter(["cmdline"]):
        assert not any(secret in item for item in process.info["cmdline"] or ())
    step = finished(backend, id_)
    assert (step.state, step.reason) == ("COMPLETED", ""), log(backend, id_, "step/stderr")
    assert log(backend, id_, "step/stdout") == "sum 240\n"

    app = application(backend, id_)
    names = [one.name for one in (*backend.step_logs(id_), *backend.container_logs(app))]
    assert [name for name in names if name.startswith("step/")] == [
        "step/controller",
        "step/stdout",
        "step/stderr",
    ]
    assert sum(name.startswith("containers/") and "/stderr" in name for name in names) >= 2
    keys = [
        item["Key"] for item in one.target.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    ]
    assert f"eventlogs/{app}" in keys  # closed, not in progress
    assert f"logs/{one.cluster.id}/steps/{id_}/state.json" in keys
    assert any(key.startswith("out/job/part-") for key in keys)

    before = {p.pid for name in ("primary", "worker-1") for p in processes_of(one, name, MASTER)}
    one.said.clear()
    up(one)
    assert ("worker-1", "standalone.sh: the worker is already running") in one.said
    assert not any("spark.sh" in line for _, line in one.said)
    assert {p.pid for p in processes_of(one, "primary", MASTER)} == before


def test_step_survives_killed_client_and_worker(
    make: Callable[..., Ec2TestCluster],
) -> None:
    one = make(2)
    up(one)
    backend, id_ = submit(one, 2.0)
    backend.primary.close()
    at_work(one, id_, "worker-1")
    for word in (WORKER, EXECUTOR):
        for process in processes_of(one, "worker-1", word):
            process.kill()
    step = finished(one.backend, id_)
    assert step.state == "COMPLETED", log(backend, id_, "step/stderr")
    assert log(backend, id_, "step/stdout") == "sum 240\n"
    assert "Lost executor" in log(backend, id_, "step/stderr")
    # It is kept running: without anybody's doing the master has it again.
    alive = until(lambda: [w for w in workers(one) if w["state"] == "ALIVE"], lambda w: len(w) == 2)
    assert len({item["host"] for item in alive}) == 2


def test_drain_and_set_up_resize_during_step(make: Callable[..., Ec2TestCluster]) -> None:
    one = make(2)
    up(one)
    backend, id_ = submit(one, 2.0)
    at_work(one, id_, "worker-2")
    fewer = Ec2TestCluster(one.nodes, 0, spec={"worker": {"count": 1}}, launched=False)
    assert standalone.drain_removed(fewer.project, one.target, one.cluster, one.hear) == (
        "worker-2",
    )
    assert not list(processes_of(one, "worker-2", WORKER))
    assert not list(processes_of(one, "worker-2", EXECUTOR))
    assert any("no executors are running on" in line for line in one.lines("worker-2"))

    one.launch("worker", "worker-3")
    gone = next(node for node in one.cluster.nodes if node.name == "worker-2")
    one.nodes.ec2.terminate_instances(InstanceIds=[gone.id])
    until(lambda: one.cluster.nodes, lambda nodes: len(nodes) == 3)
    up(one)
    assert one.lines("primary")[-1] == "the master has 2 workers with 8 cores"
    step = finished(backend, id_)
    assert step.state == "COMPLETED", log(backend, id_, "step/stderr")


def test_start_restores_cluster_and_marks_step_interrupted(
    make: Callable[..., Ec2TestCluster],
) -> None:
    one = make(1)
    up(one)
    backend, id_ = submit(one, 60.0)
    until(lambda: list(processes_of(one, "worker-1", EXECUTOR)), bool)
    ids = [node.id for node in one.cluster.nodes]
    one.nodes.ec2.stop_instances(InstanceIds=ids)
    for node in ids:
        one.nodes.until(node, "stopped")
    assert not [p for name in ("primary", "worker-1") for p in processes_of(one, name, "java")]
    step = one.backend.step(id_)
    assert (step.state, "stopped" in step.reason) == ("INTERRUPTED", True)

    one.nodes.ec2.start_instances(InstanceIds=ids)
    for node in ids:
        one.nodes.until(node, "running")
    standalone.set_up(one.project, one.target, one.cluster, {}, one.hear)
    assert one.lines("primary")[-1] == "the master has 1 workers with 4 cores"
    assert one.backend.step(id_).state == "INTERRUPTED"
    backend, id_ = submit(one, 0.0, "second")
    assert finished(backend, id_).state == "COMPLETED"

    one.nodes.ec2.terminate_instances(InstanceIds=ids)
    for node in ids:
        one.nodes.until(node, "terminated")
    assert backend.step(id_).state == "COMPLETED"  # from S3
    assert [one.name for one in backend.step_logs(id_)] == [
        "step/controller",
        "step/stderr",
        "step/stdout",
    ]


def test_cancel_ends_step_and_closes_event_log(
    make: Callable[..., Ec2TestCluster],
) -> None:
    one = make(1)
    up(one)
    backend, id_ = submit(one, 10.0)
    at_work(one, id_, "worker-1")
    backend.cancel(id_)
    assert finished(backend, id_, 40).state == "CANCELLED"
    assert not list(processes_of(one, "primary", "org.apache.spark.deploy.SparkSubmit"))
    until(lambda: list(processes_of(one, "worker-1", EXECUTOR)), lambda found: not found)
    key = f"eventlogs/{application(backend, id_)}"
    listed = one.target.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=key)["Contents"]
    assert [item["Key"] for item in listed] == [key]  # closed, not in progress
