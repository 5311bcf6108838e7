"""A standalone cluster of EC2 instances: jobs, comparison with EMR, resize, stop and start."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.server.state import EmulatorInfo
from tests.e2e.conftest import SMALL
from tests.e2e.test_dependencies import expect_dependencies, submit_dependencies
from tests.e2e.test_exact_texts import expect_exact, submit_texts
from tests.e2e.test_listeners import expect_closed
from tests.e2e.test_secrets import expect_hidden

if TYPE_CHECKING:
    from tests.e2e.conftest import Shell

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]

YAML = """\
project: e2e
cluster:
  name: plain
  kind: ec2
  primary: {{type: m5.xlarge}}
  worker: {{type: m5.xlarge, count: {count}, spot: false}}
"""


@dataclass(frozen=True)
class Standalone:
    """Runs commands with ec2.yaml, the spec of the standalone cluster."""

    shell: Shell

    def json(self, verb: str, *arguments: str) -> Any:
        """Run a command with --json and return the document."""
        return self.shell.json(verb, "--config", "ec2.yaml", *arguments)

    def submit(self, *arguments: str) -> dict[str, Any]:
        """Submit a job, wait for it and return the run."""
        [run], _ = self.shell.submit("--config", "ec2.yaml", *arguments)
        return run

    def run(self, verb: str, *arguments: str, code: int = 0) -> str:
        """Run a command and return its stdout."""
        return self.shell.run(verb, "--config", "ec2.yaml", *arguments, code=code)[0]

    def resize(self, count: int) -> None:
        """Set the number of workers in ec2.yaml."""
        (self.shell.folder / "ec2.yaml").write_text(YAML.format(count=count))


@pytest.fixture(scope="module")
def standalone(shell: Shell) -> Iterator[Standalone]:
    cluster = Standalone(shell)
    cluster.resize(2)
    cluster.run("up")
    yield cluster
    cluster.run("down", "--yes")


def test_second_up_changes_nothing(standalone: Standalone, shell: Shell) -> None:
    first = standalone.json("show")
    assert [node["name"] for node in first["nodes"]] == ["primary", "worker-1", "worker-2"]
    assert all(plan["empty"] for plan in standalone.json("preview"))
    assert standalone.json("up")["id"] == first["id"]
    running, _ = shell.run("local", "status")
    assert "RUNNING  e2e-plain-worker-2" in running


def test_results_equal_those_on_emr(standalone: Standalone, shell: Shell, features: str) -> None:
    job = (
        *(*SMALL, "--executors", "2", "--partitions", "4", "--no-dynamic-allocation", "svm"),
        *("--features", features, "--task", "both", "--shares", "0.5", "--seed", "1"),
        *("--iterations", "5", "--solver", "gram"),
    )
    [emr_run], _ = shell.submit(*job)
    ec2_run = standalone.submit(*job)
    assert (ec2_run["state"], ec2_run["metrics"]["peak_executors"]) == ("COMPLETED", 2)
    assert ec2_run["metrics"]["complete"]
    assert ec2_run["application_id"].startswith("app-")
    assert ec2_run["metrics"]["cluster"]["scheduler"] == "standalone"
    assert (
        0
        < ec2_run["cost_usd"]
        < emr_run["cost_usd"] * ec2_run["duration_s"] / emr_run["duration_s"]
    )
    comparison = standalone.json("compare", emr_run["id"], ec2_run["id"])
    assert [row["name"] for row in comparison["settings"]] == ["cluster.release"]
    accuracies = [row for row in comparison["figures"] if "accuracy" in row["key"]]
    assert accuracies
    for row in accuracies:
        first, second = row["measures"]
        assert first["mean"] == second["mean"], row["key"]


def test_submit_passes_texts_unchanged(standalone: Standalone, shell: Shell, local: Target) -> None:
    expect_exact(submit_texts(shell, local, "--config", "ec2.yaml"))


def test_submit_hides_secrets(standalone: Standalone, shell: Shell, local: Target) -> None:
    expect_hidden(shell, local, "ec2.yaml")


def test_listeners_serve_own_user_only(
    standalone: Standalone, shell: Shell, emulator: EmulatorInfo
) -> None:
    expect_closed(emulator, shell, "--config", "ec2.yaml")


def test_submit_ships_dependencies(standalone: Standalone, shell: Shell, local: Target) -> None:
    expect_dependencies(*submit_dependencies(shell, local, "client", "--config", "ec2.yaml"))


def test_step_survives_killed_client(standalone: Standalone, shell: Shell) -> None:
    (shell.folder / "survives.py").write_text("import time\ntime.sleep(5)\nprint('finished')\n")
    process = shell.start("submit", "--config", "ec2.yaml", *SMALL, "survives.py")
    deadline = time.monotonic() + 60
    while not any(run["job"] == "survives" and run["step_id"] for run in shell.records()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    [run] = standalone.json("wait", "latest")
    assert (run["job"], run["state"]) == ("survives", "COMPLETED")
    assert "finished" in standalone.run("logs", run["id"])


def test_exec_and_copy_run_on_every_node(standalone: Standalone, shell: Shell) -> None:
    (shell.folder / "note.txt").write_text("for all\n")
    standalone.run("copy", "note.txt", "notes/")
    output = standalone.run("exec", "--", "cat notes/note.txt")
    assert sorted(output.split("\n")[:3]) == [
        f"{n}: for all" for n in ("primary", "worker-1", "worker-2")
    ]
    assert "worker-1" not in standalone.run("exec", "--node", "primary", "--", "false", code=1)
    assert standalone.run("ssh", "worker-1", "--", "cat", "notes/note.txt") == "for all\n"


def test_ui_master_is_reachable_until_interrupt(standalone: Standalone, shell: Shell) -> None:
    process = shell.start("ui", "--config", "ec2.yaml", "master", "--print")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}json/", timeout=30) as answer:
        assert json.load(answer)["aliveworkers"] == 2
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    with pytest.raises(OSError, match="refused"):
        opener.open(url, timeout=5)


def test_resize_and_stop_and_start_keep_nodes_and_files(standalone: Standalone) -> None:
    before = standalone.json("show")
    standalone.resize(1)
    fewer = standalone.json("up")
    assert [node["id"] for node in fewer["nodes"]] == [node["id"] for node in before["nodes"][:2]]
    assert standalone.json("stop")["state"] == "STOPPED"
    started = standalone.json("start")
    assert (started["id"], started["state"]) == (before["id"], "RUNNING")
    assert "for all" in standalone.run("exec", "--", "cat notes/note.txt")
    run = standalone.submit(*SMALL, "survives.py")
    assert run["state"] == "COMPLETED"
