"""Stop, start and termination of EC2 instances."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.clusters import ec2, registry, stop_start
from emrctl.errors import NotFoundError, ProvisioningError, WaitTimeoutError
from tests.clusters.homes import Home, pets

FIRM = {"worker": {"count": 2, "spot": False}}


def test_stop_and_start_keep_instances(home: Home) -> None:
    made = home.up(**FIRM)
    project = pets(**FIRM)
    still = stop_start.stop_instances(project, home.target)
    assert (still.id, still.state, still.stopped) == (made.id, "STOPPED", True)
    assert {node.state for node in still.nodes} == {"STOPPED"}
    assert (still.hourly_usd, still.primary_dns, still.urls) == (0.0, "", {})
    assert stop_start.stop_instances(project, home.target) == still
    running = stop_start.start_instances(project, home.target)
    assert [node.id for node in running.nodes] == [node.id for node in made.nodes]
    assert (running.state, running.created) == ("RUNNING", made.created)
    assert stop_start.start_instances(project, home.target) == running


def test_deploy_starts_stopped_instances(home: Home) -> None:
    home.up(**FIRM)
    stop_start.stop_instances(pets(**FIRM), home.target)
    wakes = ("update", "state")
    assert home.changes(**FIRM) == dict.fromkeys(("primary", "worker-1", "worker-2"), wakes)
    found = home.up(worker={"count": 3, "spot": False})
    assert {node.state for node in found.nodes} == {"RUNNING"}
    assert len(found.nodes) == 4


def test_terminate_workers_terminates_named_workers_only(home: Home) -> None:
    made = home.up()
    stop_start.terminate_workers(pets(), home.target, ["worker-1"])
    assert home.changes() == {"worker-1": ("create", "state")}
    found = home.up()
    primary, first, second = (node.id for node in found.nodes)
    assert (primary, second) == (made.nodes[0].id, made.nodes[2].id)
    assert first != made.nodes[1].id
    with pytest.raises(NotFoundError, match="has no worker primary") as caught:
        stop_start.terminate_workers(pets(), home.target, ["worker-2", "primary"])
    assert "worker-1, worker-2" in caught.value.hint
    assert len(registry.find_cluster(pets(), home.target).nodes) == 3


def test_stop_instances_rejects_spot_instances(home: Home) -> None:
    home.up()
    with pytest.raises(ProvisioningError, match="'main': worker-1, worker-2 are spot") as caught:
        stop_start.stop_instances(pets(), home.target)
    assert "worker.spot: false" in caught.value.hint
    assert registry.find_cluster(pets(), home.target).state == "RUNNING"


def test_stop_instances_times_out(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.up(**FIRM)
    seen = ec2.describe_nodes

    def stuck(*asked: Any) -> list[dict[str, Any]]:
        found = seen(*asked)
        return [item | {"State": {"Name": "stopping"}} for item in found]

    monkeypatch.setattr(stop_start, "describe_nodes", stuck)
    monkeypatch.setattr(stop_start, "TIMEOUT_S", 0.05)
    with pytest.raises(WaitTimeoutError, match="not stopped after") as caught:
        stop_start.stop_instances(pets(**FIRM), home.target)
    assert "again" in caught.value.hint


def test_terminate_workers_times_out(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.up()
    monkeypatch.setattr(home.target.client("ec2"), "terminate_instances", lambda **_: {})
    monkeypatch.setattr(stop_start, "TIMEOUT_S", 0.05)
    with pytest.raises(WaitTimeoutError, match=r"i-\w+: not terminated after 1 min") as caught:
        stop_start.terminate_workers(pets(), home.target, ["worker-1"])
    assert "again" in caught.value.hint
