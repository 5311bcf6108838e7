"""bootstrap/ttl.sh, with an `aws` that records its calls."""

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


class TtlNode:
    """A node's files and commands in a temporary folder."""

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

    def recorded(self) -> str:
        """Wait for calls of the tools and return them."""
        for _ in range(100):
            if self.calls.is_file():
                return self.calls.read_text()
            time.sleep(0.1)
        return ""


@pytest.fixture
def node(tmp_path: Path) -> TtlNode:
    return TtlNode(tmp_path)


def test_ttl_without_emr_does_nothing(node: TtlNode) -> None:
    done = node.run("60", "us-east-1")
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True)
    assert not (node.folder / "home").exists()


def test_ttl_on_core_node_does_nothing(node: TtlNode) -> None:
    node.describe(primary=False)
    done = node.run("60", "us-east-1")
    assert (done.returncode, "not the primary" in done.stdout) == (0, True)
    assert not (node.folder / "home").exists()


def test_ttl_on_primary_terminates_cluster(node: TtlNode) -> None:
    node.describe(primary=True)
    done = node.run("1", "eu-west-1")
    assert done.returncode == 0, done.stderr
    assert "j-ABC123 will be terminated in 1 s" in done.stdout
    assert (
        node.recorded() == "aws emr terminate-clusters --region eu-west-1 --cluster-ids j-ABC123\n"
    )


def test_ttl_retries_failed_termination(node: TtlNode) -> None:
    node.describe(primary=True)
    node.tool("aws", f"echo x >> {node.calls}; [[ $(wc -l < {node.calls}) -ge 3 ]]")
    node.run("1", "eu-west-1")
    for _ in range(100):
        if node.recorded().count("x") == 3:
            break
        time.sleep(0.1)
    assert node.recorded().count("x") == 3


def test_ttl_with_systemd_starts_timer_once(node: TtlNode) -> None:
    node.describe(primary=True)
    node.tool("systemd-run", f'echo "systemd-run $*" >> {node.calls}')
    node.tool("systemctl", "exit 3")
    assert node.run("14400", "us-east-1", TTL_SH_SYSTEMD="1").returncode == 0
    program = node.folder / "home" / "end-cluster.sh"
    assert node.recorded().split() == [
        *("systemd-run", "--quiet", "--unit=emrctl-ttl", "--on-active=14400s"),
        str(program),
    ]
    assert os.access(program, os.X_OK)
    node.tool("systemctl", "exit 0")
    again = node.run("14400", "us-east-1", TTL_SH_SYSTEMD="1")
    assert "already has a timer" in again.stdout
    assert node.recorded().count("systemd-run") == 1


@pytest.mark.parametrize("arguments", [(), ("0", "us-east-1"), ("soon", "us-east-1"), ("60",)])
def test_invalid_arguments_print_usage(node: TtlNode, arguments: tuple[str, ...]) -> None:
    done = node.run(*arguments)
    assert (done.returncode, "usage: ttl.sh SECONDS REGION" in done.stderr) == (1, True)


# --- EC2 instances ---


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[TtlNode]:
    """Return a primary of EC2 instances whose terminate.py records its arguments."""
    node = TtlNode(tmp_path)
    scripts = tmp_path / "bootstrap"
    scripts.mkdir()
    for name in ("ttl.sh", "daemon.sh"):
        shutil.copy(SCRIPT.with_name(name), scripts)
    (scripts / "terminate.py").write_text(
        f"import sys; open({str(node.calls)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')"
    )
    yield node
    run_with_stack(node, "stop")


def run_with_stack(node: TtlNode, *arguments: str) -> Done:
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


def test_ttl_with_stack_terminates_instances_repeatedly(primary: TtlNode) -> None:
    done = run_with_stack(primary, "1", "eu-west-1", "pets-main")
    assert done.returncode == 0, done.stderr
    assert "pets-main will be terminated at 20" in done.stdout
    assert primary.recorded().splitlines()[0] == "eu-west-1 pets-main"
    for _ in range(100):  # until it is terminated
        if primary.recorded().count("pets-main") > 1:
            break
        time.sleep(0.1)
    assert primary.recorded().count("pets-main") > 1


def test_ttl_with_stack_counts_from_first_run(primary: TtlNode) -> None:
    first = run_with_stack(primary, "3600", "eu-west-1", "pets-main").stdout
    assert run_with_stack(primary, "3600", "eu-west-1", "pets-main").stdout == first
    run_with_stack(primary, "stop")  # the instances were stopped
    began = primary.folder / "emrctl/ttl/began"
    began.write_text(str(int(began.read_text()) - 3000))
    assert run_with_stack(primary, "3600", "eu-west-1", "pets-main").stdout < first
    assert not primary.calls.exists()
    run_with_stack(primary, "2000", "eu-west-1", "pets-main")  # a shorter time, and over
    assert "pets-main" in primary.recorded()
