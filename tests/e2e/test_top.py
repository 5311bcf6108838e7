"""Monitoring of a running job on a real YARN: `top`, node samples, cost of instances."""

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
    """Submit a job with one slow task; return the run's id and the documents of `top`."""
    (shell.folder / "slow.py").write_text(JOB)
    small = ("--executor-memory", "1g", "--driver-memory", "1g", "--executor-cores", "2")
    submit = ("submit", "--detach", "--json", "--executors", "1", *small, "slow.py")
    [run] = json.loads(shell.run(*submit)[0])
    out, _ = shell.run("top", run["id"], "--interval", "0.5", "--json")
    return run["id"], [json.loads(line) for line in out.splitlines()]


def test_top_shows_skewed_stage_while_it_runs(watched: tuple[str, list[dict[str, Any]]]) -> None:
    _, documents = watched
    assert documents[-1]["state"] == "COMPLETED"
    running = [
        document["spark"]
        for document in documents
        if document["spark"] and document["spark"]["stages"]
    ]
    stages = [stage for spark in running for stage in spark["stages"]]
    assert any(s["median_ms"] and s["longest_ms"] > 3 * s["median_ms"] for s in stages), stages
    assert any(row["id"] == "1" for spark in running for row in spark["executors"])
    nodes = [
        node
        for document in documents
        if document["cluster"]
        for node in document["cluster"]["nodes"]
    ]
    # Nodes removed by other tests are still listed.
    assert {node["state"] for node in nodes} <= {"RUNNING", "SHUTDOWN", "DECOMMISSIONED"}
    assert any(node["memory_used_mb"] for node in nodes)


def test_run_record_has_nodes_and_cost(
    shell: Shell, watched: tuple[str, list[dict[str, Any]]]
) -> None:
    run = shell.json("runs", "show", watched[0])
    assert len(run["nodes"]) == 2
    assert all(node["samples"] > 2 and node["cpu_cores_peak"] is not None for node in run["nodes"])
    assert run["instances_usd"] == pytest.approx(run["cost_usd"])
    assert 0 < run["cost_usd"] < 0.1
    assert run["metrics"]["yarn"]["memory_mb_seconds"] > 0


def test_straggler_finding_is_stored(
    shell: Shell, watched: tuple[str, list[dict[str, Any]]]
) -> None:
    rows = json.loads(shell.run("runs", "query", "select run, kind from findings", "--json")[0])
    assert {"run": watched[0], "kind": "straggler"} in rows
    output, _ = shell.run("top", watched[0], "--once")
    assert "COMPLETED" in output
    assert "Over time" in output
