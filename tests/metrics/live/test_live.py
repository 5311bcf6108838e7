"""The live picture: YARN and Spark together, either of them away."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.metrics.live import sparkui
from emrctl.metrics.live.live import Live, Places, Source, Watch
from emrctl.metrics.live.yarn import ResourceManager

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
    """Pages that can be taken away."""

    def __init__(self) -> None:
        self.yarn = dict(YARN)
        self.spark = dict(SPARK)

    def places(self) -> Places:
        return Places(
            manager=ResourceManager(self._of("yarn")), spark=lambda _app: self._of("spark")
        )

    def _of(self, name: str) -> Any:
        def fetch(path: str) -> Any:
            known = getattr(self, name)
            if path not in known:
                raise ConnectionRefusedError(path)
            return known[path]

        return fetch


def test_everything_is_merged() -> None:
    found = Watch(Pages().places(), "emrctl-r1").look("r1", "RUNNING")
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
    assert Live.from_json(found.to_json()) == found


def test_without_spark_yarns_figures_stand() -> None:
    pages = Pages()
    pages.spark.clear()
    found = Watch(pages.places(), "emrctl-r1").look("r1", "RUNNING")
    assert found.application is not None
    assert found.spark is None
    assert "spark" not in found.ages_s


def test_without_anybody_the_steps_state_stands() -> None:
    pages = Pages()
    pages.yarn.clear()
    found = Watch(pages.places(), "emrctl-r1").look("r1", "PENDING")
    assert (found.state, found.application, found.cluster, found.ages_s) == (
        "PENDING",
        None,
        None,
        {},
    )


def test_what_was_said_last_stands_when_a_page_goes_away() -> None:
    pages = Pages()
    watch = Watch(pages.places(), "emrctl-r1")
    first = watch.look("r1", "RUNNING")
    pages.yarn.clear()
    pages.spark.clear()
    second = watch.look("r1", "RUNNING")
    assert (second.application, second.spark) == (first.application, first.spark)


def test_a_silent_source_is_left_alone_for_a_while() -> None:
    now = [0.0]
    asked = []

    def away() -> int:
        asked.append(now[0])
        raise TimeoutError

    source: Source[int] = Source(10, lambda: now[0])
    assert source.ask(lambda: 7) == 7
    for now[0] in (1.0, 2.0, 10.5, 12.0):
        assert source.ask(away) == 7
    assert asked == [1.0, 12.0]
    assert source.age_s == pytest.approx(12)


def test_a_stage_whose_tasks_all_run_still_has_no_skew() -> None:
    answers = {key: item for key, item in SPARK.items() if "stages/3" not in key}

    def fetch(path: str) -> Any:
        if path not in answers:
            raise ConnectionRefusedError(path)
        return answers[path]

    state = sparkui.state(fetch, APP)
    assert state is not None
    assert (state.stages[0].median_ms, state.stages[0].skew) == (None, None)
