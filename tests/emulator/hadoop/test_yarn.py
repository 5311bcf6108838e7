"""Steps on a real YARN: output, logs, cancellation; history server; resizing."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from emrctl.aws.target import Target
from emrctl.emulator.server import control, processes, state
from tests.conftest import target_of

pytestmark = pytest.mark.yarn

SMALL = (
    *("--conf", "spark.dynamicAllocation.enabled=false", "--num-executors", "1"),
    *("--executor-memory", "512m", "--driver-memory", "512m"),
)
Submit = Callable[..., str]
FINISHED = ("COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED")

MAIN = """
import os, sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
where = lambda _: (os.environ["HOME"], os.popen("command -v python3").read().strip())
print("TOTAL", spark.sparkContext.parallelize(range(1000), 2).map(lambda n: n * n).sum())
print("ARGS", sys.argv[1:])
print("NODE", spark.sparkContext.parallelize([1], 1).map(where).first())
spark.range(10).write.mode("overwrite").parquet(sys.argv[-1])
"""
SLOW = """
import time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print(spark.sparkContext.parallelize(range(10), 2).sum())
time.sleep(300)
"""

# Ends once it has two executors, of which a node of 5,632 MB has room for one.
TWO_EXECUTORS = """
import time
from pyspark.sql import SparkSession

context = SparkSession.builder.getOrCreate().sparkContext
while context._jsc.sc().getExecutorMemoryStatus().size() < 3:
    time.sleep(0.1)
print("EXECUTORS 2")
"""

NAMES = (
    *(f"a{chr(n)}b" for n in range(32, 127) if chr(n) != "/"),
    "größe",
    "日本",
    "😀",
    "%41",
    "a ",
)
FOLDER = "data folder/Great Pyrenees"
KEYS = f"""
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
pictures = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
for path in ("data folder", "{FOLDER}", "{FOLDER}/1.jpg"):
    assert pictures.load("s3a://yarn-logs/" + path).head().content == b"picture", path
Path = spark._jvm.org.apache.hadoop.fs.Path
files = Path("s3a://yarn-logs/").getFileSystem(spark._jsc.hadoopConfiguration())
for name in {NAMES!r}:
    folder, old, new = (
        Path("s3a", "yarn-logs", f"/odd/{{name}}{{rest}}") for rest in ("", "/old", "/" + name)
    )
    files.create(old, True).close()
    assert files.rename(old, new), name
    assert files.exists(new), name
    assert [one.getPath().getName() for one in files.listStatus(folder)] == [name], name
"""


@pytest.fixture
def submit(local: Target, yarn_cluster: str) -> Submit:
    s3, emr = local.client("s3"), local.client("emr")
    for name, text in (("main.py", MAIN), ("slow.py", SLOW), ("keys.py", KEYS), ("events/", "")):
        s3.put_object(Bucket="yarn-logs", Key=f"code/{name}", Body=text.encode())

    def add(*args: str, jar: str = "command-runner.jar") -> str:
        step = {
            "Name": args[0],
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": jar, "Args": list(args)},
        }
        return str(emr.add_job_flow_steps(JobFlowId=yarn_cluster, Steps=[step])["StepIds"][0])

    return add


def status(local: Target, cluster: str, step: str) -> dict[str, Any]:
    response = local.client("emr").describe_step(ClusterId=cluster, StepId=step)
    return dict(response["Step"]["Status"])


def wait(local: Target, cluster: str, step: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 180
    while (current := status(local, cluster, step))["State"] not in (states or FINISHED):
        assert time.monotonic() < deadline, current
        time.sleep(0.1)
    return current


def logs(local: Target, prefix: str) -> dict[str, str]:
    s3 = local.client("s3")
    texts = {}
    for one in s3.list_objects_v2(Bucket="yarn-logs", Prefix=prefix).get("Contents", []):
        body = s3.get_object(Bucket="yarn-logs", Key=one["Key"])["Body"].read()
        texts[one["Key"].removeprefix(prefix)] = gzip.decompress(body).decode()
    return texts


def yarn(info: state.EmulatorInfo, cluster: str, path: str) -> Any:
    return json.loads(control.page(info, f"/emrctl/clusters/{cluster}/yarn/ws/v1/cluster/{path}"))


def maximum(local: Target, cluster: str, metric: str) -> float:
    """Return the maximum of one of EMR's metrics in CloudWatch."""
    now = datetime.now(UTC)
    answer = local.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/ElasticMapReduce",
        MetricName=metric,
        Dimensions=[{"Name": "JobFlowId", "Value": cluster}],
        StartTime=now - timedelta(hours=2),
        EndTime=now,
        Period=7200,
        Statistics=["Maximum"],
    )
    return max((float(one["Maximum"]) for one in answer["Datapoints"]), default=0.0)


def running(info: state.EmulatorInfo, cluster: str) -> list[str]:
    applications = yarn(info, cluster, "apps?states=RUNNING")["apps"] or {"app": []}
    return [one["id"] for one in applications["app"]]


def test_cluster_mode_step_completes_and_uploads_logs(
    local: Target, emulator: state.EmulatorInfo, yarn_cluster: str, submit: Submit
) -> None:
    argument = "ä b'c\n\"d $HOME"
    events = ("--conf", "spark.eventLog.dir=s3://yarn-logs/code/events/")
    arguments = ("spark-submit", "--deploy-mode", "cluster", *SMALL, *events)
    step = submit(*arguments, "s3://yarn-logs/code/main.py", argument, "s3://yarn-logs/out/")
    result = wait(local, yarn_cluster, step)
    texts = logs(local, f"{yarn_cluster}/steps/{step}/")
    assert result["State"] == "COMPLETED", texts["stderr.gz"][-3000:]
    assert "waitProcessCompletion ended with exit code 0" in texts["controller.gz"]
    containers = logs(local, f"{yarn_cluster}/containers/")
    drivers = [text for key, text in containers.items() if key.endswith("_000001/stdout.gz")]
    driver = next(text for text in drivers if "TOTAL 332833500" in text)
    assert repr([argument, "s3://yarn-logs/out/"]) in driver
    # The executor has the home and the Python of its node.
    nodes = Path(emulator.home) / "clusters" / yarn_cluster / "nodes"
    home, python = eval(driver.split("NODE ")[1].splitlines()[0])  # noqa: S307
    assert Path(home).parent.parent == nodes
    assert Path(python).parent.parent.parent.parent == nodes
    written = local.client("s3").list_objects_v2(Bucket="yarn-logs", Prefix="out/")["Contents"]
    assert any(one["Key"].endswith(".parquet") for one in written)
    application = yarn(emulator, yarn_cluster, "apps")["apps"]["app"][0]
    assert application["finalStatus"] == "SUCCEEDED"
    secret = Path(emulator.credentials).read_text().split(" = ")[-1].strip()
    objects = local.client("s3").list_objects_v2(Bucket="yarn-logs", Prefix="code/events/app")
    key = objects["Contents"][0]["Key"]
    event_log = local.client("s3").get_object(Bucket="yarn-logs", Key=key)["Body"].read()
    assert b"SparkListenerApplicationEnd" in event_log
    rules = (nodes.parent / "conf-rm/core-site.xml").read_text()
    secret_user = rules.split("RULE:[1:$1@$0](")[1].split(")")[0]
    for text in (*texts.values(), *containers.values(), event_log.decode()):
        assert secret not in text
        assert secret_user not in text
    _until(lambda: maximum(local, yarn_cluster, "AppsCompleted") >= 1)
    assert maximum(local, yarn_cluster, "MemoryTotalMB") == 24_576
    assert maximum(local, yarn_cluster, "MRActiveNodes") == 2


def test_s3a_reads_lists_and_renames_every_key(
    local: Target, yarn_cluster: str, submit: Submit
) -> None:
    s3 = local.client("s3")
    s3.put_object(Bucket="yarn-logs", Key=f"{FOLDER}/1.jpg", Body=b"picture")
    step = submit("spark-submit", *SMALL, "s3://yarn-logs/code/keys.py")
    result = wait(local, yarn_cluster, step)
    assert result["State"] == "COMPLETED", result.get("FailureDetails")
    listed = s3.list_objects_v2(Bucket="yarn-logs", Prefix="odd/")["Contents"]
    assert {item["Key"] for item in listed} - {"odd/"} == {f"odd/{n}/{n}" for n in NAMES}


def test_client_mode_step_fails_with_traceback(
    local: Target, yarn_cluster: str, submit: Submit
) -> None:
    step = submit("spark-submit", *SMALL, "s3://yarn-logs/code/main.py", "s3://not-a-bucket/x")
    result = wait(local, yarn_cluster, step)
    assert result["State"] == "FAILED"
    assert "Traceback" in result["FailureDetails"]["Message"]
    assert "not-a-bucket" in result["FailureDetails"]["Message"]
    assert result["FailureDetails"]["LogFile"].endswith(f"steps/{step}/stderr.gz")
    texts = logs(local, f"{yarn_cluster}/steps/{step}/")
    assert "TOTAL 332833500" in texts["stdout.gz"]


def test_script_runner_and_other_programs(local: Target, yarn_cluster: str, submit: Submit) -> None:
    local.client("s3").put_object(Bucket="yarn-logs", Key="code/hi.sh", Body=b"echo hi $1; exit 4")
    runner = "s3://us-east-1.elasticmapreduce/libs/script-runner/script-runner.jar"
    script = submit("s3://yarn-logs/code/hi.sh", "you", jar=runner)
    hadoop = submit("hadoop", "fs", "-ls", "s3://yarn-logs/code/")
    listing = submit("yarn", "application", "-list", "-appStates", "ALL")
    unknown = submit("nonesuch")
    assert wait(local, yarn_cluster, script)["State"] == "FAILED"
    texts = logs(local, f"{yarn_cluster}/steps/{script}/")
    assert texts["stdout.gz"] == "hi you\n"
    assert "exit code 4" in texts["controller.gz"]
    assert wait(local, yarn_cluster, hadoop)["State"] == "COMPLETED"
    assert "code/hi.sh" in logs(local, f"{yarn_cluster}/steps/{hadoop}/")["stdout.gz"]
    assert wait(local, yarn_cluster, listing)["State"] == "COMPLETED"
    assert "FINISHED" in logs(local, f"{yarn_cluster}/steps/{listing}/")["stdout.gz"]
    assert wait(local, yarn_cluster, unknown)["State"] == "FAILED"
    assert "127" in logs(local, f"{yarn_cluster}/steps/{unknown}/")["controller.gz"]


@pytest.mark.parametrize(
    ("mode", "option"), [("cluster", "SEND_INTERRUPT"), ("client", "TERMINATE_PROCESS")]
)
def test_cancel_step_kills_process_and_application(
    local: Target,
    emulator: state.EmulatorInfo,
    yarn_cluster: str,
    submit: Submit,
    mode: str,
    option: str,
) -> None:
    step = submit("spark-submit", "--deploy-mode", mode, *SMALL, "s3://yarn-logs/code/slow.py")
    wait(local, yarn_cluster, step, "RUNNING")
    deadline = time.monotonic() + 120
    while not running(emulator, yarn_cluster) and time.monotonic() < deadline:
        time.sleep(0.2)
    application = running(emulator, yarn_cluster)[0]
    path = f"/emrctl/clusters/{yarn_cluster}/proxy/{application}/api/v1/applications"
    _until(lambda: json.loads(control.page(emulator, path))[0]["id"] == application)
    emr = local.client("emr")
    emr.cancel_steps(ClusterId=yarn_cluster, StepIds=[step], StepCancellationOption=option)
    assert wait(local, yarn_cluster, step)["State"] == "CANCELLED"
    _until(lambda: not running(emulator, yarn_cluster))
    assert processes.marked(processes.SCOPE_MARK, step) == []


def _until(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (OSError, ValueError):
            pass  # the page does not exist yet
        time.sleep(0.2)
    raise AssertionError(f"condition not met within {timeout_s:.0f} s")


def test_web_uis_show_applications(emulator: state.EmulatorInfo, yarn_cluster: str) -> None:
    path = f"/emrctl/clusters/{yarn_cluster}/history/api/v1/applications"
    assert isinstance(json.loads(control.page(emulator, path, timeout_s=60)), list)
    clusters: Any = control.overview(emulator)["clusters"]
    cluster = next(one for one in clusters if one["id"] == yarn_cluster)
    assert set(cluster["urls"]) == {"yarn", "spark", "history"}
    with requests.Session() as browser:
        for name, title in (("yarn", "All Applications"), ("history", "History Server")):
            page = browser.get(target_of(emulator).browser_url(cluster["urls"][name]), timeout=60)
            assert (page.status_code, title in page.text) == (200, True)


def test_idle_cluster_uses_less_than_1_5_gb(
    emulator: state.EmulatorInfo, yarn_cluster: str
) -> None:
    daemons = [
        one
        for one in processes.marked(processes.CLUSTER_MARK, yarn_cluster)
        if "HistoryServer" not in " ".join(one.cmdline())
    ]
    total = sum(one.memory_info().rss for one in daemons)
    total += psutil.Process(emulator.pid).memory_info().rss
    assert len(daemons) == 3
    assert total < 1.5e9


def test_resize_scale_and_terminate_cluster(local: Target, emulator: state.EmulatorInfo) -> None:
    emr, s3 = local.client("emr"), local.client("s3")
    s3.create_bucket(Bucket="yarn-other")
    s3.put_object(
        Bucket="yarn-other", Key="boot.sh", Body=b"#!/bin/bash\necho booted on $EMRCTL_NODE_ROOT"
    )
    groups = [
        {"InstanceRole": role, "InstanceType": "c4.xlarge", "InstanceCount": 1}
        for role in ("MASTER", "CORE")
    ]
    script = {"Path": "s3://yarn-other/boot.sh", "Args": []}
    cluster = emr.run_job_flow(
        Name="other",
        ReleaseLabel="emr-7.5.0",
        LogUri="s3://yarn-other/",
        BootstrapActions=[{"Name": "boot", "ScriptBootstrapAction": script}],
        Instances={"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True},
    )["JobFlowId"]

    def state_of() -> str:
        return str(emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"])

    def active() -> tuple[int, int]:
        metrics = yarn(emulator, cluster, "metrics")["clusterMetrics"]
        return metrics["activeNodes"], metrics["totalMB"]

    _until(lambda: state_of() == "WAITING")
    assert active() == (1, 5632)
    core = emr.list_instance_groups(ClusterId=cluster)["InstanceGroups"][1]["Id"]
    for count in (2, 1):
        change = {"InstanceGroupId": core, "InstanceCount": count}
        emr.modify_instance_groups(InstanceGroups=[change])
        _until(lambda count=count: active() == (count, 5632 * count))  # type: ignore[misc]
    limits = {"UnitType": "Instances", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 2}
    emr.put_managed_scaling_policy(
        ClusterId=cluster, ManagedScalingPolicy={"ComputeLimits": limits}
    )
    s3.put_object(Bucket="yarn-other", Key="two.py", Body=TWO_EXECUTORS.encode())
    options = ("--num-executors", "2", "--executor-memory", "3g", "--driver-memory", "512m")
    off = ("--conf", "spark.dynamicAllocation.enabled=false")
    args = ["spark-submit", *off, *options, "s3://yarn-other/two.py"]
    jar = {"Jar": "command-runner.jar", "Args": args}
    step = {"Name": "two", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    [step_id] = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])["StepIds"]

    def step_state() -> str:
        return str(emr.describe_step(ClusterId=cluster, StepId=step_id)["Step"]["Status"]["State"])

    _until(lambda: step_state() in FINISHED, timeout_s=300)
    # Its executors do not fit on one node.
    assert step_state() == "COMPLETED"
    _until(lambda: active() == (1, 5632))
    emr.terminate_job_flows(JobFlowIds=[cluster])
    assert state_of() in ("TERMINATING", "TERMINATED")
    _until(lambda: state_of() == "TERMINATED")
    assert processes.marked(processes.CLUSTER_MARK, cluster) == []
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket="yarn-other")["Contents"]]
    assert sum("bootstrap-actions/1/stdout.gz" in key for key in keys) == 4
    assert any("applications/hadoop-yarn/hadoop-hadoop-resourcemanager" in key for key in keys)
