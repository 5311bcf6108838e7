"""The configuration to try after the default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from emrctl.errors import NotFoundError
from emrctl.predict import history
from emrctl.runs.workspace import Workspace
from emrctl.spec import ClusterSpec, ExperimentSpec, ProjectSpec, SparkSettings
from emrctl.spec.config import Config
from emrctl.tune import forecast
from tests.facts import RUN

SPEC = ExperimentSpec.model_validate(
    {"name": "search", "job": "svm", "factors": {"executors": [1, 2, 4], "partitions": [8, 64]}}
)


def _predicted(root: Path, seconds: dict[int, float], refused: Sequence[int] = ()) -> int | None:
    def predict(_w: Any, _r: Any, counts: Sequence[int], cores: Sequence[int]) -> Any:
        assert (list(counts), list(cores)) == ([1, 2, 4], [])
        points = [
            SimpleNamespace(
                executors=count,
                cores=4,
                predicted_wall_s=seconds[count],
                refused="not measured" if count in refused else None,
            )
            for count in counts
        ]
        return SimpleNamespace(points=points, observed=SimpleNamespace(wall_s=100.0))

    with mock.patch.object(history, "predict_run", predict):
        return _at(root)


def _at(root: Path) -> int | None:
    workspace = Workspace(Config(ProjectSpec(project="pets"), root, {}))
    run = SimpleNamespace(**{**RUN.__dict__, "job": "svm"})
    return forecast.predicted(workspace, run, SPEC.combinations)  # type: ignore[arg-type]


def test_predicted_is_the_first_candidate_with_the_fastest_scale(tmp_path: Path) -> None:
    assert _predicted(tmp_path, {1: 90.0, 2: 60.0, 4: 70.0}) == 2


def test_predicted_ignores_refused_and_slower_scales(tmp_path: Path) -> None:
    assert _predicted(tmp_path, {1: 90.0, 2: 60.0, 4: 70.0}, refused=[2]) == 4
    assert _predicted(tmp_path, {1: 140.0, 2: 60.0, 4: 110.0}, refused=[2]) is None


def test_predicted_without_an_event_log_is_none(tmp_path: Path) -> None:
    with mock.patch.object(history, "predict_run", side_effect=NotFoundError("no event log")):
        assert _at(tmp_path) is None


@pytest.mark.parametrize(("executors", "expected"), [((1, 4, 2), 1), ((2, 2), None)])
def test_largest_uses_most_cores_that_have_room(
    executors: tuple[int, ...], expected: int | None
) -> None:
    cluster = ClusterSpec.model_validate({"core": {"type": "m5.xlarge", "count": 2}})
    settings = [
        SparkSettings(
            executors=count, executor_cores=1, executor_memory="1g", dynamic_allocation=False
        )
        for count in executors
    ]
    assert forecast.largest(cluster, settings) == expected
