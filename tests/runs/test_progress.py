"""Progress from the REST APIs of YARN and Spark, either of which may not respond."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from emrctl.aws.target import Target
from emrctl.runs import progress
from emrctl.runs.adapters import RunAdapter, adapter_of
from tests import facts

RUN = dataclasses.replace(facts.RUN, state="RUNNING")
APP = {"id": "application_1_0001", "state": "RUNNING", "startedTime": 5, "runningContainers": 3}


@dataclass
class Pages:
    """A target with configured REST responses; other requests fail."""

    answers: dict[str, Any]
    asked: list[str] = field(default_factory=list)

    def page(self, cluster_id: str, primary_dns: str, name: str) -> str:
        return f"{name}:"

    def fetch(self, url: str) -> Any:
        self.asked.append(url)
        for part, answer in self.answers.items():
            if part in url:
                return answer
        raise OSError("connection refused")


@dataclass
class FakeWorkspace:
    target: Pages

    def adapter(self, cluster_id: str) -> RunAdapter:
        return adapter_of(cluster_id, cast("Target", self.target), cast("Any", None))


def _watcher(answers: dict[str, Any]) -> tuple[progress.Watcher, Pages]:
    pages = Pages(answers)
    return progress.Watcher(FakeWorkspace(pages)), pages  # type: ignore[arg-type]


def test_look_merges_yarn_and_spark() -> None:
    jobs = [{"status": "RUNNING", "numTasks": 8, "numCompletedTasks": 3, "stageIds": [0, 1]}]
    watcher, _ = _watcher(
        {
            "applicationTags=emrctl-r1": {"apps": {"app": [APP]}},
            "/jobs": jobs,
            "/stages": [],
            "/executors": [{"id": "driver"}, {"id": "1", "isActive": True}],
            "/api/v1/applications/application_1_0001": {},
        }
    )
    seen = watcher.look(RUN)
    app, done = seen.application, seen.jobs
    assert app is not None
    assert (app.application_id, app.running_containers) == ("application_1_0001", 3)
    assert done is not None
    assert (done.tasks_done, done.tasks_total, done.executors) == (3, 8, 1)


def test_look_without_spark_returns_yarn_figures() -> None:
    watcher, _ = _watcher({"applicationTags": {"apps": {"app": [APP]}}})
    seen = watcher.look(RUN)
    assert seen.application is not None
    assert (seen.application.state, seen.jobs) == ("RUNNING", None)


def test_look_within_interval_does_not_poll_again() -> None:
    watcher, pages = _watcher({})
    assert watcher.look(RUN) == progress.Progress()
    assert watcher.look(RUN) == progress.Progress()
    assert len(pages.asked) == 1


@pytest.mark.parametrize("answer", [{"apps": None}, {"apps": {}}])
def test_look_before_application_exists_returns_empty_progress(answer: dict[str, Any]) -> None:
    watcher, _ = _watcher({"applicationTags": answer})
    assert watcher.look(RUN) == progress.Progress()
