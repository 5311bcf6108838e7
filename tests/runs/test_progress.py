"""Progress from YARN's and Spark's pages; silence of either is no fault."""

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
    """A target whose pages answer what they are told to, or not at all."""

    answers: dict[str, Any]
    asked: list[str] = field(default_factory=list)

    def page(self, cluster_id: str, primary_dns: str, name: str) -> str:
        return f"{name}:"

    def fetch(self, url: str) -> Any:
        self.asked.append(url)
        for part, answer in self.answers.items():
            if part in url:
                return answer
        raise OSError("nobody there")


@dataclass
class Desk:
    target: Pages

    def adapter(self, cluster_id: str) -> RunAdapter:
        return adapter_of(cluster_id, cast("Target", self.target), cast("Any", None))


def _watcher(answers: dict[str, Any]) -> tuple[progress.Watcher, Pages]:
    pages = Pages(answers)
    return progress.Watcher(Desk(pages)), pages  # type: ignore[arg-type]


def test_yarn_and_spark_are_merged() -> None:
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
    assert (seen.application_id, seen.containers) == ("application_1_0001", 3)
    assert (seen.tasks_done, seen.tasks_total, seen.executors) == (3, 8, 1)


def test_without_spark_yarns_figures_stand() -> None:
    watcher, _ = _watcher({"applicationTags": {"apps": {"app": [APP]}}})
    seen = watcher.look(RUN)
    assert (seen.application_state, seen.tasks_total) == ("RUNNING", None)


def test_a_page_that_is_silent_is_left_alone_for_a_while() -> None:
    watcher, pages = _watcher({})
    assert watcher.look(RUN) == progress.Progress()
    assert watcher.look(RUN) == progress.Progress()
    assert len(pages.asked) == 1


@pytest.mark.parametrize("answer", [{"apps": None}, {"apps": {}}])
def test_an_application_that_is_not_there_yet_is_no_fault(answer: dict[str, Any]) -> None:
    watcher, _ = _watcher({"applicationTags": answer})
    assert watcher.look(RUN) == progress.Progress()
