"""The main job on a standalone cluster of EC2 instances, and the same beside it on EMR."""

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

from tests.e2e.conftest import SMALL

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
class Plain:
    """Types commands about the cluster of instances, which has a spec of its own."""

    shell: Shell

    def json(self, verb: str, *arguments: str) -> Any:
        """The JSON document that the command printed."""
        return self.shell.json(verb, "--config", "ec2.yaml", *arguments)

    def submit(self, *arguments: str) -> dict[str, Any]:
        """The run that was submitted, once it has ended."""
        [run], _ = self.shell.submit("--config", "ec2.yaml", *arguments)
        return run

    def run(self, verb: str, *arguments: str, code: int = 0) -> str:
        """What the command wrote to stdout."""
        return self.shell.run(verb, "--config", "ec2.yaml", *arguments, code=code)[0]

    def resize(self, count: int) -> None:
        """The spec asks for so many workers."""
        (self.shell.folder / "ec2.yaml").write_text(YAML.format(count=count))


@pytest.fixture(scope="module")
def plain(shell: Shell) -> Iterator[Plain]:
    made = Plain(shell)
    made.resize(2)
    made.run("up")
    yield made
    made.run("down", "--yes")


def test_a_second_up_changes_nothing(plain: Plain, shell: Shell) -> None:
    first = plain.json("show")
    assert [node["name"] for node in first["nodes"]] == ["primary", "worker-1", "worker-2"]
    assert all(plan["empty"] for plan in plain.json("preview"))
    assert plain.json("up")["id"] == first["id"]
    running, _ = shell.run("local", "status")
    assert "RUNNING  e2e-plain-worker-2" in running


def test_it_gives_emrs_results_and_is_compared_with_it(
    plain: Plain, shell: Shell, features: str
) -> None:
    job = (
        *(*SMALL, "--executors", "2", "--partitions", "4", "--no-dynamic-allocation", "svm"),
        *("--features", features, "--task", "both", "--shares", "0.5", "--seed", "1"),
        *("--iterations", "5", "--solver", "gram"),
    )
    [there], _ = shell.submit(*job)
    here = plain.submit(*job)
    assert (here["state"], here["metrics"]["peak_executors"]) == ("COMPLETED", 2)
    assert here["metrics"]["complete"]
    assert here["application_id"].startswith("app-")
    assert here["metrics"]["cluster"]["scheduler"] == "standalone"
    assert 0 < here["cost_usd"] < there["cost_usd"] * here["duration_s"] / there["duration_s"]
    found = plain.json("compare", there["id"], here["id"])
    assert [row["name"] for row in found["settings"]] == ["cluster.release"]
    accuracies = [row for row in found["figures"] if "accuracy" in row["key"]]
    assert accuracies
    for row in accuracies:
        first, second = row["measures"]
        assert first["mean"] == second["mean"], row["key"]


def test_a_step_outlives_the_client_that_began_it(plain: Plain, shell: Shell) -> None:
    (shell.folder / "outlives.py").write_text("import time\ntime.sleep(5)\nprint('lived on')\n")
    process = shell.start("submit", "--config", "ec2.yaml", *SMALL, "outlives.py")
    deadline = time.monotonic() + 60
    while not any(run["job"] == "outlives" and run["step_id"] for run in shell.records()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    [run] = plain.json("wait", "latest")
    assert (run["job"], run["state"]) == ("outlives", "COMPLETED")
    assert "lived on" in plain.run("logs", run["id"])


def test_commands_and_files_reach_every_node(plain: Plain, shell: Shell) -> None:
    (shell.folder / "note.txt").write_text("for all\n")
    plain.run("copy", "note.txt", "notes/")
    said = plain.run("exec", "--", "cat notes/note.txt")
    assert sorted(said.split("\n")[:3]) == [
        f"{n}: for all" for n in ("primary", "worker-1", "worker-2")
    ]
    assert "worker-1" not in plain.run("exec", "--node", "primary", "--", "false", code=1)
    assert plain.run("ssh", "worker-1", "--", "cat", "notes/note.txt") == "for all\n"


def test_the_masters_page_opens_until_the_command_is_ended(plain: Plain, shell: Shell) -> None:
    process = shell.start("ui", "--config", "ec2.yaml", "master", "--print")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}json/", timeout=30) as answer:
        assert json.load(answer)["aliveworkers"] == 2
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    with pytest.raises(OSError, match="refused"):
        opener.open(url, timeout=5)


def test_workers_leave_and_a_stop_keeps_what_there_is(plain: Plain) -> None:
    before = plain.json("show")
    plain.resize(1)
    fewer = plain.json("up")
    assert [node["id"] for node in fewer["nodes"]] == [node["id"] for node in before["nodes"][:2]]
    assert plain.json("stop")["state"] == "STOPPED"
    back = plain.json("start")
    assert (back["id"], back["state"]) == (before["id"], "RUNNING")
    assert "for all" in plain.run("exec", "--", "cat notes/note.txt")
    run = plain.submit(*SMALL, "outlives.py")
    assert run["state"] == "COMPLETED"
