"""Live snapshots with YARN or Spark unavailable."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.metrics.live import sparkui
from emrctl.metrics.live.managers import ResourceManager
from emrctl.metrics.live.snapshot import LiveSnapshot, LiveSources, PolledSource, RunWatch

APP = "application_1_0001"
ROOT = f"/api/v1/applications/{APP}"
YARN: dict[str, Any] = {
    "/ws/v1/cluster/apps?applicationTags=emrctl-r1": {
        "apps": {
            "app": [
                {"id": "application_1_0000", "state": "FAILED", "startedTime": 1},
                {"id": APP, "state": "RUNNING", "startedTime": 5, "runningContainers": 3},
            ]
        }
    },
    "/ws/v1/cluster/metrics": {"clusterMetrics": {"appsRunning": 1, "totalMB": 24_576}},
    "/ws/v1/cluster/nodes": {"nodes": {"node": [{"id": "n1", "state": "RUNNING"}]}},
}
SPARK: dict[str, Any] = {
    ROOT: {"id": APP, "attempts": []},
    f"{ROOT}/jobs": [{"status": "RUNNING", "stageIds": [3], "numTasks": 8}],
    f"{ROOT}/stages?status=active": [
        {
            "stageId": 3,
            "attemptId": 0,
            "name": "count at s3://b/x?token=s3cr3t",
            "numTasks": 8,
            "numActiveTasks": 2,
        }
    ],
    f"{ROOT}/stages/3/0/taskSummary?quantiles=0.5,1.0": {"duration": [1_000.0, 2_000.0]},
    f"{ROOT}/stages/3/0/taskList?status=running&sortBy=-runtime&length=1": [
        {"duration": 9_000, "executorId": "2"}
    ],
    f"{ROOT}/executors": [{"id": "1"}],
    f"{ROOT}/allexecutors": [
        {"id": "1", "hostPort": "h1:4040", "totalCores": 4, "peakMemoryMetrics": {"JVMHeap": 5}}
    ],
}


class Pages:
    """Sources that can be made unavailable."""

    def __init__(self) -> None:
        self.yarn = dict(YARN)
        self.spark = dict(SPARK)

    def places(self) -> LiveSources:
        return LiveSources(
            manager=ResourceManager(self._of("yarn")), spark=lambda _app: self._of("spark")
        )

    def _of(self, name: str) -> Any:
        def fetch(path: str) -> Any:
            known = getattr(self, name)
            if path not in known:
                raise ConnectionRefusedError(path)
            return known[path]

        return fetch


def test_snapshot_merges_all_sources() -> None:
    found = RunWatch(Pages().places(), "emrctl-r1").snapshot("r1", "RUNNING")
    assert found.application is not None
    assert (found.application.application_id, found.application.running_containers) == (APP, 3)
    assert found.cluster is not None
    assert found.cluster.memory_total_mb == 24_576
    assert found.spark is not None
    [stage] = found.spark.stages
    assert (stage.median_ms, stage.longest_ms, stage.slowest_on) == (1_000, 9_000, "2")
    assert stage.skew == pytest.approx(9)
    assert "s3cr3t" not in str(found.to_json())
    assert found.spark.executors[0].host == "h1"
    assert set(found.ages_s) == {"yarn", "cluster", "spark"}
    assert LiveSnapshot.from_json(found.to_json()) == found


def test_snapshot_without_spark_has_yarn() -> None:
    pages = Pages()
    pages.spark.clear()
    found = RunWatch(pages.places(), "emrctl-r1").snapshot("r1", "RUNNING")
    assert found.application is not None
    assert found.spark is None
    assert "spark" not in found.ages_s


def test_snapshot_without_sources_has_step_state() -> None:
    pages = Pages()
    pages.yarn.clear()
    found = RunWatch(pages.places(), "emrctl-r1").snapshot("r1", "PENDING")
    assert (found.state, found.application, found.cluster, found.ages_s) == (
        "PENDING",
        None,
        None,
        {},
    )


def test_snapshot_keeps_last_values_of_unavailable_sources() -> None:
    pages = Pages()
    watch = RunWatch(pages.places(), "emrctl-r1")
    first = watch.snapshot("r1", "RUNNING")
    pages.yarn.clear()
    pages.spark.clear()
    second = watch.snapshot("r1", "RUNNING")
    assert (second.application, second.spark) == (first.application, first.spark)


def test_poll_unavailable_source_is_not_retried_at_once() -> None:
    now = [0.0]
    asked = []

    def away() -> int:
        asked.append(now[0])
        raise TimeoutError

    source: PolledSource[int] = PolledSource(10, lambda: now[0])
    assert source.poll(lambda: 7) == 7
    for now[0] in (1.0, 2.0, 10.5, 12.0):
        assert source.poll(away) == 7
    assert asked == [1.0, 12.0]
    assert source.age_s == pytest.approx(12)


def test_skew_without_completed_tasks_is_none() -> None:
    answers = {key: item for key, item in SPARK.items() if "stages/3" not in key}

    def fetch(path: str) -> Any:
        if path not in answers:
            raise ConnectionRefusedError(path)
        return answers[path]

    state = sparkui.state(fetch, APP)
    assert state is not None
    assert (state.stages[0].median_ms, state.stages[0].skew) == (None, None)
