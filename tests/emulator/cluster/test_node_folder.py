"""Nodes and bootstrap actions as they really run, without Java."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.api import dispatch
from emrctl.emulator.cluster import node_folder
from emrctl.emulator.cluster.local_runtime import LocalRuntime
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.cluster.runtime import BootstrapFailedError
from emrctl.emulator.server import processes


def node(role: str, number: int) -> EmulatedNode:
    group = InstanceGroup(role=role, instance_type="m5.xlarge", count=1, request={})
    names: Any = {"public_dns": "p", "public_ip": "1", "private_dns": "q", "private_ip": "2"}
    return EmulatedNode(group=group, ec2_id=f"i-{number:017x}", **names)


@pytest.fixture
def context(tmp_path: Path) -> EmulatorContext:
    return EmulatorContext(
        home=tmp_path / "local",
        emulator_id=f"test-{tmp_path.name}",
        endpoint="http://127.0.0.1:9",
        credentials=tmp_path / "credentials",
    )


@pytest.fixture
def cluster() -> EmulatedCluster:
    asked = {"Name": "pets", "LogUri": "s3://pets-logs/", "Instances": {}}
    found = EmulatedCluster(request=asked, region="us-east-1", account="123456789012")
    found.nodes = [node("MASTER", 1), node("CORE", 2)]
    found.groups = [one.group for one in found.nodes]
    return found


@pytest.fixture
def runtime(mocked: Target, context: EmulatorContext) -> Iterator[LocalRuntime]:
    runtime = LocalRuntime(context)
    with dispatch.install(runtime):
        mocked.client("s3").create_bucket(Bucket="pets-logs")
        mocked.client("s3").create_bucket(Bucket="pets-code")
        yield runtime


def run(
    context: EmulatorContext, cluster: EmulatedCluster, *argv: str
) -> subprocess.CompletedProcess[str]:
    one = cluster.nodes[0]
    if not context.node_folder(cluster, one).exists():
        node_folder.prepare(context, cluster, one)
    environment = node_folder.environment(context, cluster, one)
    return subprocess.run(
        argv,
        cwd=context.node_folder(cluster, one),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def boot(
    runtime: LocalRuntime, cluster: EmulatedCluster, mocked: Target, *scripts: tuple[str, list[str]]
) -> None:
    actions = []
    for number, (text, args) in enumerate(scripts):
        path = text
        if not text.startswith("s3:"):
            mocked.client("s3").put_object(Bucket="pets-code", Key=str(number), Body=text.encode())
            path = f"s3://pets-code/{number}"
        script = {"Path": path, "Args": args}
        actions.append({"Name": str(number), "ScriptBootstrapAction": script})
    cluster.request["BootstrapActions"] = actions
    runtime.bootstrap(cluster, cluster.nodes)


def log(mocked: Target, cluster: EmulatedCluster, one: EmulatedNode, number: int, name: str) -> str:
    key = f"{cluster.id}/node/{one.ec2_id}/bootstrap-actions/{number}/{name}.gz"
    body = mocked.client("s3").get_object(Bucket="pets-logs", Key=key)["Body"].read()
    return gzip.decompress(body).decode()


def test_a_node_has_its_own_home_python_and_facts(
    context: EmulatorContext, cluster: EmulatedCluster
) -> None:
    script = "echo $HOME; command -v python3 sudo; python3 -c 'import pyspark, numpy, boto3'"
    done = run(context, cluster, "bash", "-c", script)
    root = context.node_folder(cluster, cluster.nodes[0])
    expected = [str(root / "home"), str(root / "venv/bin/python3"), str(root / "bin/sudo")]
    assert done.stdout.splitlines() == expected, done.stderr
    facts = json.loads((root / "mnt/var/lib/info/instance.json").read_text())
    assert facts["isMaster"] is True
    flow = json.loads((root / "mnt/var/lib/info/job-flow.json").read_text())
    assert flow["jobFlowId"] == cluster.id


def test_a_node_s_environment_holds_no_secret(
    context: EmulatorContext, cluster: EmulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    monkeypatch.setenv("MY_TOKEN", "mine")
    found = node_folder.environment(context, cluster, cluster.nodes[0])
    assert "mine" not in found.values()
    assert found["AWS_SHARED_CREDENTIALS_FILE"] == str(context.credentials)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["sudo", "-u", "hadoop", "-E", "echo", "ran"], 0, "ran"),
        (["sudo", "-n", "--", "echo", "ran"], 0, "ran"),
        (["sudo", "A=b", "bash", "-c", "echo $A"], 0, "b"),
        (["shutdown", "-h", "now"], 1, "refused"),
        (["sudo", "reboot"], 1, "refused"),
        (["s3-dist-cp", "--src", "a"], 127, "'s3-dist-cp' is not available on the local EMR"),
        (["sudo", "yum", "install", "git"], 127, "'yum' is not available"),
        (["spark-submit", "main.py"], 127, "not installed yet"),
        (["hadoop", "fs", "-ls", "/"], 127, "not installed yet"),
    ],
)
def test_programs_of_emr_s_image(
    context: EmulatorContext, cluster: EmulatedCluster, command: list[str], code: int, said: str
) -> None:
    done = run(context, cluster, *command)
    assert done.returncode == code
    assert said in done.stdout + done.stderr


def test_the_lecture_s_line_installs_for_the_node_alone(
    context: EmulatorContext, cluster: EmulatedCluster, tmp_path: Path
) -> None:
    wheelhouse = tmp_path / "own"
    wheelhouse.mkdir()
    (wheelhouse / "setup.py").write_text("from setuptools import setup; setup(name='own_thing')")
    done = run(context, cluster, "python3", "-m", "pip", "install", "--user", "boto3")
    assert done.returncode == 0, done.stderr
    line = ["install", "--user", "--no-build-isolation", "--no-deps", str(wheelhouse)]
    done = run(context, cluster, "sudo", "python3", "-m", "pip", *line)
    assert done.returncode == 0, done.stderr
    home = context.node_folder(cluster, cluster.nodes[0]) / "home"
    assert list(home.glob(".local/lib/python*/site-packages/own_thing*"))


def test_bootstrap_actions_run_in_order_on_every_node(
    runtime: LocalRuntime, context: EmulatorContext, cluster: EmulatedCluster, mocked: Target
) -> None:
    first = "#!/bin/bash\necho $1 | tee $HOME/first; echo oops >&2"
    second = "#!/usr/bin/env python3\nimport os; print(open(os.environ['HOME'] + '/first').read())"
    boot(runtime, cluster, mocked, (first, ["ä b"]), (second, []))
    for one in cluster.nodes:
        assert log(mocked, cluster, one, 1, "stdout") == "ä b\n"
        assert log(mocked, cluster, one, 1, "stderr") == "oops\n"
        assert "ä b" in log(mocked, cluster, one, 2, "stdout")
        assert "ended with exit code 0" in log(mocked, cluster, one, 2, "controller")


def test_a_failing_action_names_its_node_and_leaves_its_log(
    runtime: LocalRuntime, cluster: EmulatedCluster, mocked: Target
) -> None:
    script = "cd /; echo broken >&2; exit 7"
    with pytest.raises(BootstrapFailedError) as caught:
        boot(runtime, cluster, mocked, ("exit 0", []), (script, []))
    assert (caught.value.node, caught.value.number) == (cluster.nodes[0], 2)
    assert caught.value.exit_code == 7
    assert log(mocked, cluster, cluster.nodes[0], 2, "stderr") == "broken\n"


def test_a_script_that_is_not_there(
    runtime: LocalRuntime, cluster: EmulatedCluster, mocked: Target
) -> None:
    with pytest.raises(BootstrapFailedError, match="could not download s3://pets-code/none"):
        boot(runtime, cluster, mocked, ("s3://pets-code/none", []))


def test_run_if_runs_where_its_condition_holds(
    runtime: LocalRuntime, cluster: EmulatedCluster, mocked: Target
) -> None:
    run_if = "s3://us-east-1.elasticmapreduce/bootstrap-actions/run-if"
    boot(runtime, cluster, mocked, (run_if, ["instance.isMaster=true", "echo", "the primary"]))
    primary, worker = cluster.nodes
    assert log(mocked, cluster, primary, 1, "stdout") == "the primary\n"
    assert log(mocked, cluster, worker, 1, "stdout") == ""


def test_what_an_action_leaves_running_is_killed(
    runtime: LocalRuntime, context: EmulatorContext, cluster: EmulatedCluster, mocked: Target
) -> None:
    boot(runtime, cluster, mocked, ("setsid nohup sleep 300 >/dev/null 2>&1 & sleep 0.1", []))
    assert processes.marked(processes.EMULATOR_MARK, context.emulator_id) == []


def test_an_ended_cluster_leaves_no_bulk(
    runtime: LocalRuntime, context: EmulatorContext, cluster: EmulatedCluster, mocked: Target
) -> None:
    boot(runtime, cluster, mocked)
    runtime.stop(cluster)
    left: Any = [path.name for path in context.node_folder(cluster, cluster.nodes[0]).iterdir()]
    assert not {"venv", "home", "tmp"} & set(left)
    assert "mnt" in left
