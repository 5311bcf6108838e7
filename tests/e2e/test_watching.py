"""A run watched at work on a real YARN: `top`, the nodes' samples, what the instances cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Shell

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]

JOB = """\
import time
from pyspark.sql import SparkSession

def work(number):
    time.sleep(12 if number == 11 else 0.4)
    return number

SparkSession.builder.getOrCreate().sparkContext.parallelize(range(12), 12).map(work).count()
"""


@pytest.fixture(scope="module")
def watched(shell: Shell) -> tuple[str, list[dict[str, Any]]]:
    """A run that had one slow task, and all that `top` said of it until its end."""
    (shell.folder / "slow.py").write_text(JOB)
    small = ("--executor-memory", "1g", "--driver-memory", "1g", "--executor-cores", "2")
    submit = ("submit", "--detach", "--json", "--executors", "1", *small, "slow.py")
    [run] = json.loads(shell.run(*submit)[0])
    out, _ = shell.run("top", run["id"], "--interval", "0.5", "--json")
    return run["id"], [json.loads(line) for line in out.splitlines()]


def test_top_sees_the_skew_as_it_happens(watched: tuple[str, list[dict[str, Any]]]) -> None:
    _, looks = watched
    assert looks[-1]["state"] == "COMPLETED"
    at_work = [look["spark"] for look in looks if look["spark"] and look["spark"]["stages"]]
    stages = [stage for spark in at_work for stage in spark["stages"]]
    assert any(s["median_ms"] and s["longest_ms"] > 3 * s["median_ms"] for s in stages), stages
    assert any(row["id"] == "1" for spark in at_work for row in spark["executors"])
    nodes = [node for look in looks if look["cluster"] for node in look["cluster"]["nodes"]]
    # A node that another test's resizing took away is still listed.
    assert {node["state"] for node in nodes} <= {"RUNNING", "SHUTDOWN", "DECOMMISSIONED"}
    assert any(node["memory_used_mb"] for node in nodes)


def test_nodes_and_instances_are_stored_with_the_run(
    shell: Shell, watched: tuple[str, list[dict[str, Any]]]
) -> None:
    run = shell.json("runs", "show", watched[0])
    assert len(run["nodes"]) == 2
    assert all(node["samples"] > 2 and node["cpu_cores_peak"] is not None for node in run["nodes"])
    assert run["instances_usd"] == pytest.approx(run["cost_usd"])
    assert 0 < run["cost_usd"] < 0.1
    assert run["metrics"]["yarn"]["memory_mb_seconds"] > 0


def test_its_finding_is_in_the_store(
    shell: Shell, watched: tuple[str, list[dict[str, Any]]]
) -> None:
    rows = json.loads(shell.run("runs", "query", "select run, kind from findings", "--json")[0])
    assert {"run": watched[0], "kind": "straggler"} in rows
    picture, _ = shell.run("top", watched[0], "--once")
    assert "COMPLETED" in picture
