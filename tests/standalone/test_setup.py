"""Setup of emulated nodes over SSH, with scripts that do not start Java."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from emrctl import bundled, paths, standalone
from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster
from emrctl.errors import HostKeyError, NoKeyError
from emrctl.provision import lifecycle
from emrctl.provision.stacks import Deployment
from emrctl.remote import host_keys
from emrctl.remote.nodes import PrimaryConnection
from emrctl.spec.ec2 import WorkersSpec
from emrctl.standalone.parallel import NodesFailedError, ParallelNodes
from emrctl.standalone.setup import set_up_nodes
from tests.remote import connections
from tests.standalone.cluster import Ec2TestCluster

Make = Callable[..., Ec2TestCluster]
LIGHT = Path(__file__).with_name("light")


@pytest.fixture(autouse=True)
def light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the bundled scripts that start Java."""
    root = tmp_path / "bundled"
    shutil.copytree(bundled.root() / "bootstrap", root / "bootstrap")
    shutil.copytree(LIGHT, root / "bootstrap", dirs_exist_ok=True)
    monkeypatch.setattr("emrctl.bundled.root", lambda: root)
    return root / "bootstrap"


def script(folder: Path, name: str, body: str) -> dict[str, str]:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{textwrap.dedent(body)}")
    return {name: str(path)}


def up(one: Ec2TestCluster, scripts: dict[str, str] | None = None) -> None:
    standalone.set_up(one.project, one.target, one.cluster, scripts or {}, one.hear)


def test_set_up_runs_nodes_in_parallel_and_skips_completed_scripts(
    make: Make, tmp_path: Path
) -> None:
    one = make(10, bootstrap=[{"script": "own.sh", "args": ["a word", "it's"]}])
    running = tmp_path / "running"
    running.mkdir()
    body = f"""\
        touch {running}/$$
        deadline=$((SECONDS + 60))
        until (($(ls {running} | wc -l) >= 11)); do  # every node runs this script now
          ((SECONDS < deadline))
          sleep 0.05
        done
        printf '%s\\n' "$@" >~/words
        echo twice >>~/times
    """
    own = script(tmp_path, "own.sh", body)
    up(one, own)
    assert one.lines("primary")[-1] == "the master has 10 workers"
    for name in ("primary", *one.names()):
        assert (one.root(name) / "words").read_text() == "a word\nit's\n"
        assert "spark.sh: Spark 3.5.9 (not really)" in one.lines(name)

    one.said.clear()
    up(one, own)
    for name in one.names():
        assert one.lines(name) == ["standalone.sh: worker"]
        assert (one.root(name) / "times").read_text() == "twice\n"
    arguments = (one.root("worker-3") / "emrctl/arguments").read_text()
    assert "--cores=4 --memory-mb=15360" in arguments
    primary = one.cluster.nodes[0].private_ip
    assert f"--master={primary}" in arguments


def test_set_up_repeats_only_changed_scripts(make: Make, tmp_path: Path) -> None:
    one = make(1, bootstrap=[{"script": "own.sh"}])
    up(one, script(tmp_path, "own.sh", "echo first >>~/times"))
    up(one, script(tmp_path, "own.sh", "echo second >>~/times"))
    assert (one.root("worker-1") / "times").read_text() == "first\nsecond\n"
    one.spec["spark"] = "3.5.8"
    up(one, script(tmp_path, "own.sh", "echo second >>~/times"))
    assert (one.root("worker-1") / "times").read_text() == "first\nsecond\n"
    assert (one.root("worker-1") / "emrctl/times").read_text() == "once\nonce\n"


def test_set_up_passes_arguments_to_bundled_scripts(make: Make, light: Path) -> None:
    script(light, "ours.sh", 'echo "$1 $(ls "$(dirname "$0")"/python.sh | wc -l)"')
    one = make(1, bootstrap=[{"script": "ours.sh", "args": ["hello"]}])
    up(one, {"ours.sh": str(light / "ours.sh")})
    assert "hello 1" in one.lines("worker-1")


def test_set_up_names_failed_node_with_output_and_continues(make: Make, tmp_path: Path) -> None:
    body = """
        echo "on $EMRCTL_INSTANCE" >&2  # one stream keeps the order
        if [[ -e ~/bad ]]; then echo "out of luck" >&2; exit 4; fi
        echo well >>~/times
    """
    one = make(2, bootstrap=[{"script": "own.sh"}])
    own = script(tmp_path, "own.sh", body)
    (one.root("worker-2") / "bad").touch()
    with pytest.raises(NodesFailedError) as caught:
        up(one, own)
    bad = one.cluster.nodes[2]
    assert caught.value.message == (
        f"bootstrapping failed on worker-2:\n  worker-2 ({bad.id}): own.sh ended with exit code 4"
        f"\n    on {bad.id}\n    out of luck"
    )
    assert list(caught.value.failures) == ["worker-2"]
    assert "again to continue" in caught.value.hint
    assert not any("the master has" in line for line in one.lines("primary"))

    (one.root("worker-2") / "bad").unlink()
    up(one, own)
    for name in ("primary", "worker-1", "worker-2"):
        assert (one.root(name) / "times").read_text() == "well\n"


def test_up_with_skip_failed_terminates_failed_workers(make: Make, tmp_path: Path) -> None:
    one = make(2, bootstrap=[{"script": "own.sh"}])
    script(tmp_path, "own.sh", "if [[ -e ~/bad ]]; then exit 4; fi")
    (one.root("worker-1") / "bad").touch()
    before = one.cluster

    def set_up(*, skip_failed: bool) -> Cluster:
        deployment = Deployment(one.project, one.target, tmp_path)
        return lifecycle._set_up(deployment, one.cluster, one.hear, skip_failed=skip_failed)

    with pytest.raises(NodesFailedError) as caught:
        set_up(skip_failed=False)
    assert "--give-up" in caught.value.hint
    after = set_up(skip_failed=True)
    assert [node.name for node in after.nodes] == ["primary", "worker-2"]
    assert one.lines("worker-1")[-1].startswith("terminated: own.sh ended with exit code 4")
    assert one.nodes.describe(before.nodes[1].id)["State"]["Name"] == "terminated"
    (one.root("worker-2") / "bad").touch()
    one.spec["bootstrap"] = [{"script": "own.sh", "args": ["again"]}]
    with pytest.raises(NodesFailedError, match="worker-2"):  # the last one stays
        set_up(skip_failed=True)
    assert [node.name for node in one.cluster.nodes] == ["primary", "worker-2"]


def test_set_up_reports_full_disk(make: Make, tmp_path: Path) -> None:
    one = make(1, bootstrap=[{"script": "own.sh"}])
    own = script(tmp_path, "own.sh", "cat /dev/zero >/dev/full")
    with pytest.raises(NodesFailedError, match="its disk is full") as caught:
        up(one, own)
    assert set(caught.value.failures) == {"primary", "worker-1"}
    assert "larger root_gb" in caught.value.hint


def test_set_up_names_unreachable_node(make: Make) -> None:
    one = make(2)
    lost = one.cluster.nodes[1]
    nodes = tuple(
        replace(node, public_ip="127.9.9.9") if node == lost else node for node in one.cluster.nodes
    )
    cluster = replace(one.cluster, nodes=nodes)
    with (
        pytest.raises(NodesFailedError) as caught,
        ParallelNodes(one.target, cluster, one.hear, timeout_s=0.5) as connected,
    ):
        set_up_nodes(connected, one.project, {})
    assert list(caught.value.failures) == ["worker-1"]
    assert f"cannot connect to port {one.target.ssh_port} of 127.9.9.9" in caught.value.message
    assert "security group" in caught.value.hint
    assert any("waiting for SSH" in line for line in one.lines("worker-1"))


def test_set_up_reports_output_of_master_if_workers_are_missing(make: Make, light: Path) -> None:
    one = make(1)
    text = (light / "standalone.sh").read_text()
    bad = text.replace('echo "the master has $2 workers"', 'echo "0 of $2 workers came"; exit 1')
    (light / "standalone.sh").write_text(bad)
    with pytest.raises(NodesFailedError, match="waiting for workers failed on primary") as caught:
        up(one)
    assert "0 of 1 workers came" in caught.value.message


def test_drain_skips_unreachable_worker(make: Make) -> None:
    one = make(2)
    fewer = one.project.model_copy(
        update={"cluster": one.project.ec2.model_copy(update={"worker": WorkersSpec(count=1)})}
    )
    assert standalone.removed_workers(fewer, one.cluster) == ("worker-2",)
    nodes = (*one.cluster.nodes[:2], replace(one.cluster.nodes[2], public_ip="127.9.9.9"))
    cluster = replace(one.cluster, nodes=nodes)
    with ParallelNodes(one.target, cluster, one.hear, timeout_s=0.2) as connected:
        standalone.drain(connected, connected.find("worker-2"))
        standalone.drain(connected, connected.find("worker-1"))  # has no running worker
    assert any("not drained: cannot connect to port" in line for line in one.lines("worker-2"))
    assert one.lines("worker-1") == []


def test_set_up_rejects_changed_host_key(make: Make) -> None:
    import asyncssh

    one = make(1)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()
    node = one.cluster.nodes[1]
    host_keys.remember(node.id, host_keys.HostKey(type=other[0], text=other[1]))
    with pytest.raises(HostKeyError, match=f"worker-1: the host key of {node.id} has changed"):
        up(one)
    assert not (one.root("worker-1") / "emrctl").exists()


def test_set_up_without_private_key_raises_no_key(make: Make) -> None:
    one = make(1)
    paths.key_file(one.stack).unlink()
    with pytest.raises(NoKeyError, match="the key of 'pets-main' is not on this machine") as caught:
        up(one)
    assert str(paths.key_file(one.stack)) in caught.value.hint


class _Ssm:
    """A Session Manager client for which all nodes are online."""

    meta = SimpleNamespace(endpoint_url="https://ssm")

    def describe_instance_information(self, **_: Any) -> dict[str, Any]:
        return {"InstanceInformationList": [{"PingStatus": "Online"}]}

    def start_session(self, **_: Any) -> dict[str, Any]:
        return {"SessionId": "s", "TokenValue": "sesame", "StreamUrl": "wss://x"}


def test_set_up_without_ssh_uses_session_manager(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = connections.plugin(tmp_path, monkeypatch)
    monkeypatch.setenv("PLUGIN_LEADS_THERE", "1")
    of = Target.client
    clients = lambda target, name: _Ssm() if name == "ssm" else of(target, name)  # noqa: E731
    monkeypatch.setattr(Target, "client", clients)
    one = make(2, ssh="none", roles={"ssm": True})
    up(one)
    assert [one.lines(name)[-1] for name in one.names()] == ["standalone.sh: worker"] * 2
    primary = PrimaryConnection(one.target, one.cluster.id)
    assert primary.run("true").code == 0
    primary.close()
    asked = [json.loads(json.loads(line)[0][4]) for line in called.read_text().splitlines()]
    nodes = [*one.cluster.nodes, one.cluster.nodes[0]]  # once by the connected, once by itself
    assert sorted(item["Target"] for item in asked) == sorted(node.id for node in nodes)
    assert {item["Parameters"]["host"][0] for item in asked} == {n.private_ip for n in nodes}


CLIENT = """
import pickle, sys
from emrctl import bundled, standalone
root, project, target, cluster, own = pickle.load(open(sys.argv[1], "rb"))
bundled.root = lambda: root
standalone.set_up(project, target, cluster, own, print)
"""


def test_set_up_continues_after_killed_client(make: Make, tmp_path: Path, light: Path) -> None:
    """The first client is another process, which is killed while a script runs."""
    one = make(2, bootstrap=[{"script": "first.sh"}, {"script": "second.sh"}])
    own = script(tmp_path, "first.sh", "echo first >>~/times")
    own |= script(tmp_path, "second.sh", "touch ~/begun; sleep 2; echo slow; echo second >>~/times")
    asked = tmp_path / "asked"
    asked.write_bytes(pickle.dumps((light.parent, one.project, one.target, one.cluster, own)))
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(asked)])
    end = time.monotonic() + 60
    while not all((one.root(name) / "begun").exists() for name in ("primary", *one.names())):
        assert time.monotonic() < end
        time.sleep(0.05)
    client.kill()
    client.wait()
    up(one, own)
    for name in ("primary", *one.names()):
        times = (one.root(name) / "times").read_text().split()
        assert times.count("first") == 1
        assert times[-1] == "second"
    assert one.lines("primary")[-1] == "the master has 2 workers"


def test_set_up_shares_one_private_secret(make: Make) -> None:
    one = make(2)
    up(one)
    secrets = {(one.root(n) / "emrctl/secret").read_text() for n in ("primary", *one.names())}
    assert len(secrets) == 1
    up(one)
    assert (one.root("worker-2") / "emrctl/secret").read_text() in secrets
    assert (one.root("worker-2") / "emrctl/secret").stat().st_mode & 0o777 == 0o600
    for node in ("primary", *one.names()):
        assert not any(next(iter(secrets)) in line for line in one.lines(node))


def test_exec_and_copy_reach_all_nodes(make: Make, tmp_path: Path) -> None:
    one = make(2)
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.sh").write_text("exit 3")
    (folder / "a.sh").chmod(0o750)
    (folder / "inner/b").write_bytes(b"\0" * 100_000)
    with ParallelNodes(one.target, one.cluster, one.hear) as connected:
        assert standalone.copy(connected, folder, "data/") == 2
        assert standalone.copy(connected, folder / "a.sh", "data", ["worker-1"]) == 1
        codes = standalone.exec_on(connected, "ls data; bash data/folder/a.sh")
        assert codes == {"primary": 3, "worker-1": 3, "worker-2": 3}
        assert standalone.exec_on(connected, "true", ["worker-2"]) == {"worker-2": 0}
        with pytest.raises(NodesFailedError, match="could not write"):
            standalone.copy(connected, folder, "/proc/nowhere/")
    assert one.lines("worker-1") == ["a.sh", "folder"]
    assert one.lines("worker-2") == ["folder"]
    got = one.root("worker-2") / "data/folder"
    assert (got / "inner/b").stat().st_size == 100_000
    assert (got / "a.sh").stat().st_mode & 0o777 == 0o750
