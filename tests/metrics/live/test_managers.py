"""The standalone master's `/json/` page of Spark 3.5.8."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.metrics.live.managers import Master

WORKER = {
    "id": "worker-20261120130404-127.0.9.2-37665",
    "host": "127.0.9.2",
    "port": 37665,
    "cores": 2,
    "coresused": 1,
    "coresfree": 1,
    "memory": 2048,
    "memoryused": 1024,
    "memoryfree": 1024,
    "state": "ALIVE",
}


def app(number: int, name: str, state: str = "RUNNING") -> dict[str, Any]:
    return {
        "id": f"app-20261120130410-{number:04}",
        "starttime": 1_795_179_850_039 + number,
        "name": name,
        "cores": 2,
        "user": "ec2-user",
        "state": state,
        "duration": 8_876,
    }


def master(active: list[dict[str, Any]], ended: list[dict[str, Any]] | None = None) -> Master:
    page = {
        "url": "spark://127.0.9.1:7077",
        "workers": [WORKER, WORKER | {"host": "127.0.9.3", "state": "DEAD"}],
        "cores": 2,
        "coresused": 1,
        "memory": 2048,
        "memoryused": 1024,
        "activeapps": active,
        "completedapps": ended or [],
    }
    return Master({"/json/": page}.__getitem__)


def test_tagged_finds_application_by_name() -> None:
    older, newer = app(0, "svm emrctl-r1", "FINISHED"), app(1, "svm emrctl-r1")
    found = master([newer, app(2, "svm emrctl-r2")], [older]).tagged("emrctl-r1")
    assert found is not None
    assert (found.application_id, found.state) == (newer["id"], "RUNNING")
    assert (found.user, found.elapsed_ms) == ("ec2-user", 8_876)


@pytest.mark.parametrize(
    ("active", "number"),
    [
        ([app(3, "a name of its own")], 3),
        ([app(3, "svm emrctl-r2")], None),
        ([app(3, "one"), app(4, "two")], None),
        ([], None),
    ],
)
def test_tagged_falls_back_to_only_active_application(
    active: list[dict[str, Any]], number: int | None
) -> None:
    found = master(active).tagged("emrctl-r1")
    assert (None if found is None else int(found.application_id[-4:])) == number


def test_application_final_status() -> None:
    states = {"FINISHED": "SUCCEEDED", "FAILED": "FAILED", "KILLED": "KILLED"}
    ended = [app(number, "x", state) for number, state in enumerate(states)]
    books = master([app(7, "waits", "WAITING")], ended)
    accounts = [books.application(item["id"]) for item in ended]
    assert [item and item.final_status for item in accounts] == list(states.values())
    waiting = books.application("app-20261120130410-0007")
    assert waiting is not None
    assert waiting.state == "ACCEPTED"
    assert books.application("app-20261120130410-0009") is None


def test_cluster_returns_workers() -> None:
    found = master([app(0, "x")], [app(1, "y", "FAILED")]).cluster()
    assert found is not None
    assert (found.memory_total_mb, found.vcores_total, found.scheduler) == (2048, 2, "standalone")
    assert (found.apps_running, found.apps_failed, found.apps_submitted) == (1, 1, 2)
    assert found.nodes_by_state == {"RUNNING": 1, "LOST": 1}
    alive, dead = found.nodes
    assert (alive.id, alive.memory_available_mb, alive.vcores_used) == ("127.0.9.2:37665", 1024, 1)
    assert (dead.state, dead.memory_available_mb) == ("LOST", 0)


def test_unavailable_master_is_none() -> None:
    def away(path: str) -> Any:
        raise ConnectionRefusedError(path)

    silent = Master(away)
    assert silent.cluster() is None
    assert silent.application("app-1") is None
    with pytest.raises(ConnectionRefusedError):
        silent.tagged("emrctl-r1")
    assert Master(lambda _path: []).cluster() is None
