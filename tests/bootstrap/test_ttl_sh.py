"""bootstrap/ttl.sh: run for real, with an `aws` that writes down what it was asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bootstrap" / "ttl.sh"
Done = subprocess.CompletedProcess[str]


class Node:
    """A node's files and commands in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.tools = folder / "bin"
        self.tools.mkdir()
        self.tool("sudo", 'shift; exec "$@"')  # -n
        self.tool("aws", f'echo "aws $*" >> {self.calls}')

    def tool(self, name: str, body: str) -> None:
        path = self.tools / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def describe(self, *, primary: bool) -> None:
        (self.folder / "info").mkdir()
        word = "true" if primary else "false"
        (self.folder / "info/instance.json").write_text(f'{{"isMaster": {word}}}')
        (self.folder / "info/job-flow.json").write_text('{"jobFlowId": "j-ABC123", "x": 1}')

    def run(self, *arguments: str, **more: str) -> Done:
        environment = {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "TTL_SH_INFO": str(self.folder / "info"),
            "TTL_SH_HOME": str(self.folder / "home"),
            "TTL_SH_PAUSE_S": "0",
        }
        return subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment | more,
        )

    def said(self) -> str:
        """What the tools were asked, once they were."""
        for _ in range(100):
            if self.calls.is_file():
                return self.calls.read_text()
            time.sleep(0.1)
        return ""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_where_there_is_no_emr_it_ends_quietly(node: Node) -> None:
    done = node.run("60", "us-east-1")
    assert (done.returncode, "nothing to end" in done.stdout) == (0, True)
    assert not (node.folder / "home").exists()


def test_only_the_primary_keeps_the_time(node: Node) -> None:
    node.describe(primary=False)
    done = node.run("60", "us-east-1")
    assert (done.returncode, "not the primary" in done.stdout) == (0, True)
    assert not (node.folder / "home").exists()


def test_its_own_cluster_ends_when_the_time_is_over(node: Node) -> None:
    node.describe(primary=True)
    done = node.run("1", "eu-west-1")
    assert done.returncode == 0, done.stderr
    assert "j-ABC123 ends in 1 s" in done.stdout
    assert node.said() == "aws emr terminate-clusters --region eu-west-1 --cluster-ids j-ABC123\n"


def test_it_asks_again_where_it_was_refused(node: Node) -> None:
    node.describe(primary=True)
    node.tool("aws", f"echo x >> {node.calls}; [[ $(wc -l < {node.calls}) -ge 3 ]]")
    node.run("1", "eu-west-1")
    for _ in range(100):
        if node.said().count("x") == 3:
            break
        time.sleep(0.1)
    assert node.said().count("x") == 3


def test_systemd_keeps_the_time_where_there_is_one(node: Node) -> None:
    node.describe(primary=True)
    node.tool("systemd-run", f'echo "systemd-run $*" >> {node.calls}')
    node.tool("systemctl", "exit 3")
    assert node.run("14400", "us-east-1", TTL_SH_SYSTEMD="1").returncode == 0
    program = node.folder / "home" / "end-cluster.sh"
    assert node.said().split() == [
        *("systemd-run", "--quiet", "--unit=emrctl-ttl", "--on-active=14400s"),
        str(program),
    ]
    assert os.access(program, os.X_OK)
    node.tool("systemctl", "exit 0")
    again = node.run("14400", "us-east-1", TTL_SH_SYSTEMD="1")
    assert "has its timer already" in again.stdout
    assert node.said().count("systemd-run") == 1


@pytest.mark.parametrize("arguments", [(), ("0", "us-east-1"), ("soon", "us-east-1"), ("60",)])
def test_bad_arguments_are_told(node: Node, arguments: tuple[str, ...]) -> None:
    done = node.run(*arguments)
    assert (done.returncode, "usage: ttl.sh SECONDS REGION" in done.stderr) == (1, True)


# --- EC2 instances ---


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Node]:
    """A primary of EC2 instances, with a program in place of the one that asks EC2."""
    node = Node(tmp_path)
    scripts = tmp_path / "bootstrap"
    scripts.mkdir()
    for name in ("ttl.sh", "daemon.sh"):
        shutil.copy(SCRIPT.with_name(name), scripts)
    (scripts / "terminate.py").write_text(
        f"import sys; open({str(node.calls)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')"
    )
    yield node
    stack(node, "stop")


def stack(node: Node, *arguments: str) -> Done:
    scripts = node.folder / "bootstrap"
    command = [str(scripts / "ttl.sh"), *arguments]
    if arguments == ("stop",):
        command = [str(scripts / "daemon.sh"), "stop", "ttl"]
    environment = {
        "PATH": os.environ["PATH"],
        "EMRCTL_NODE": str(node.folder / "emrctl"),
        "EMRCTL_NODE_ROOT": str(node.folder),
        "TTL_SH_PAUSE_S": "1",
    }
    return subprocess.run(
        ["bash", *command], capture_output=True, text=True, check=False, env=environment
    )


def test_a_stack_of_instances_ends_when_its_time_is_over(primary: Node) -> None:
    done = stack(primary, "1", "eu-west-1", "pets-main")
    assert done.returncode == 0, done.stderr
    assert "pets-main ends at 20" in done.stdout
    assert primary.said().splitlines()[0] == "eu-west-1 pets-main"
    for _ in range(100):  # it asks again as long as it lives
        if primary.said().count("pets-main") > 1:
            break
        time.sleep(0.1)
    assert primary.said().count("pets-main") > 1


def test_the_time_of_a_stack_counts_from_its_beginning(primary: Node) -> None:
    first = stack(primary, "3600", "eu-west-1", "pets-main").stdout
    assert stack(primary, "3600", "eu-west-1", "pets-main").stdout == first
    stack(primary, "stop")  # the instances were stopped
    began = primary.folder / "emrctl/ttl/began"
    began.write_text(str(int(began.read_text()) - 3000))
    assert stack(primary, "3600", "eu-west-1", "pets-main").stdout < first
    assert not primary.calls.exists()
    stack(primary, "2000", "eu-west-1", "pets-main")  # a shorter time, and over
    assert "pets-main" in primary.said()
