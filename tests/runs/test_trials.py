"""The runner of trials: parallel runs, their room, limits, clusters of configurations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from emrctl.clusters import sizing
from emrctl.clusters.model import Cluster
from emrctl.engine.base import StackState
from emrctl.errors import ProvisioningError, UnavailableError
from emrctl.provision import lifecycle, stacks
from emrctl.provision.stacks import Deployment
from emrctl.runs import experiment_state, experiments
from emrctl.runs.experiment_state import ExperimentState, RunOptions
from emrctl.runs.record import Run
from emrctl.runs.trial_clusters import TrialClusters
from emrctl.runs.trials import Trial, TrialRunner
from emrctl.spec import ClusterSpec, Ec2ClusterSpec, ExperimentSpec, ProjectSpec, SparkSettings
from tests.facts import CLUSTER
from tests.runs.fake_cluster import FakeWorkspace, Report, without_uploads

SMALL = {"dynamic_allocation": False, "executor_cores": 1, "executor_memory": "1g"}


@pytest.fixture(autouse=True)
def _no_uploads() -> Iterator[None]:
    with without_uploads():
        yield


def workspace(tmp_path: Path, concurrency: int = 8, **steps: Any) -> FakeWorkspace:
    cluster = {"step_concurrency": concurrency, "max_hourly_cost": 5}
    project = ProjectSpec.model_validate({"project": "pets", "cluster": cluster})
    return FakeWorkspace(project, tmp_path, polls=3, **steps)


def spec(**values: Any) -> ExperimentSpec:
    base = {
        "name": "e1",
        "job": "svm",
        "settings": SMALL,
        "factors": {"partitions": list(range(1, 9))},
    }
    return ExperimentSpec.model_validate(base | values)


@pytest.mark.parametrize(
    ("executors", "concurrency", "parallel", "at_once"),
    [(1, 8, 4, 4), (1, 3, 4, 3), (3, 8, 4, 2), (8, 8, 4, 1), (2, 1, 4, 1), (1, 8, 1, 1)],
)
def test_parallel_trials_are_limited_by_room_and_step_concurrency(
    tmp_path: Path, executors: int, concurrency: int, parallel: int, at_once: int
) -> None:
    space, report = workspace(tmp_path, concurrency), Report()
    settings = SMALL | {"executors": executors}
    experiment_state.run(space, spec(settings=settings), report, RunOptions(parallel=parallel))
    assert space.fake.most_at_once == at_once
    assert len(space.fake.names()) == 8
    limited = [note for note in report.notes if "cluster.step_concurrency limits" in note]
    assert len(limited) == (concurrency < min(parallel, 4))


def test_run_over_its_limit_is_cancelled(tmp_path: Path) -> None:
    space = workspace(tmp_path)
    state = ExperimentState(space, spec(factors={"partitions": [1, 2]}), [])
    step = space.fake.step

    class Limited:
        """Limits the first trial."""

        def next(self) -> Trial | None:
            trial = state.next()
            return replace(trial, limit_s=30) if trial and trial.number == 1 else trial

        def finished(self, trial: Trial, run: Run) -> None:
            state.finished(trial, run)

        failed, outlook = state.failed, state.outlook

    space.fake.step = lambda step_id: replace(  # type: ignore[method-assign]
        step(step_id), started=datetime(2020, 1, 1, tzinfo=UTC)
    )
    report = Report()
    clusters = TrialClusters(space, "e1", report.note, keep=False)
    TrialRunner(space, clusters, report).run(Limited())
    assert [run.state for run in state.runs.values()] == ["CANCELLED", "COMPLETED"]
    assert report.notes[0].endswith("exceeds 30 s: cancelled")


class Clusters:
    """Replaces provisioning: records what is created and deleted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> None:
        self.events: list[str] = []
        self.specs: dict[str, ProjectSpec] = {}
        self.fails = fails
        monkeypatch.setattr(lifecycle, "up", self.up)
        monkeypatch.setattr(lifecycle, "down", self.down)

    def up(self, deployment: Deployment) -> Cluster:
        project = deployment.spec
        name, type_ = project.cluster.name, project.cluster.core_group.type
        self.specs[name] = project
        self.events.append(f"up {type_}")
        if type_ == self.fails:
            raise ProvisioningError(f"no capacity for {type_}")
        return replace(CLUSTER, name=name, id=f"j-{name}", spec=project.cluster)

    def down(self, deployment: Deployment) -> None:
        self.events.append(f"down {deployment.spec.cluster.core_group.type}")


TYPES = {"cluster.core.type": ["m5.xlarge", "r5.xlarge"], "executors": [1, 2]}


def test_clusters_are_created_once_each_and_deleted_after_their_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters, space = Clusters(monkeypatch), workspace(tmp_path)
    monkeypatch.setattr("emrctl.clusters.registry.find_cluster", _missing)
    factors = {**TYPES, "cluster.ttl_s": ["0"]}
    state = experiment_state.run(space, spec(factors=factors, repeats=2), Report(), RunOptions())
    assert clusters.events == ["up m5.xlarge", "down m5.xlarge", "up r5.xlarge", "down r5.xlarge"]
    first, second = clusters.specs
    assert first.startswith("e1-")
    assert first != second
    assert all(project.cluster.ttl_s == 4 * 3600 for project in clusters.specs.values())
    names = [run.cluster.name for run in state.runs.values()]
    assert names == [first] * 4 + [second] * 4


def _missing(*_: object) -> Cluster:
    from emrctl.errors import NotFoundError

    raise NotFoundError("no cluster")


def test_cluster_equal_to_the_projects_is_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters, space = Clusters(monkeypatch), workspace(tmp_path)
    monkeypatch.setattr("emrctl.clusters.registry.find_cluster", lambda *_: CLUSTER)
    factors = {"cluster.core.count": [2, 3]}
    report = Report()
    state = experiment_state.run(space, spec(factors=factors), report, RunOptions(keep=True))
    assert [run.cluster.name for run in state.runs.values()] == ["main", *clusters.specs]
    assert clusters.events == ["up m5.xlarge"]
    assert "is kept: delete it with `emrctl down --cluster" in report.notes[-1]


def test_trials_of_a_cluster_that_cannot_be_created_fail_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters, space = Clusters(monkeypatch, fails="m5.xlarge"), workspace(tmp_path)
    monkeypatch.setattr("emrctl.clusters.registry.find_cluster", _missing)
    state = experiment_state.run(space, spec(factors=TYPES, repeats=2), Report(), RunOptions())
    assert clusters.events == ["up m5.xlarge", "down m5.xlarge", "up r5.xlarge", "down r5.xlarge"]
    assert (state.outlook().done, state.outlook().failed, state.outlook().left) == (4, 4, 0)


def test_created_cluster_is_deleted_after_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters, space = Clusters(monkeypatch), workspace(tmp_path)
    monkeypatch.setattr("emrctl.clusters.registry.find_cluster", _missing)

    def interrupt(_name: str, _arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(space.fake, "submit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        experiment_state.run(space, spec(factors=TYPES), Report(), RunOptions())
    assert clusters.events == ["up m5.xlarge", "down m5.xlarge"]


def test_cluster_that_a_killed_client_left_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters, space = Clusters(monkeypatch), workspace(tmp_path)
    monkeypatch.setattr("emrctl.clusters.registry.find_cluster", _missing)
    experiment_state.run(space, spec(factors=TYPES), Report(), RunOptions())
    clusters.events.clear()
    first, second = clusters.specs
    states = [
        StackState(stack=name, engine="embedded", identity="fake", resources=count, gone=gone)
        for name, count, gone in (
            (f"pets-{first}", 3, False),
            (f"pets-{second}", 3, True),
            ("pets-main", 3, False),
        )
    ]
    monkeypatch.setattr(stacks, "list_stacks", lambda _deployment: states)
    report = Report()
    experiment_state.run(space, spec(factors=TYPES), report, RunOptions(keep=True))
    assert clusters.events == []
    experiment_state.run(space, spec(factors=TYPES), report, RunOptions())
    assert clusters.events == ["down m5.xlarge"]
    assert report.notes == [f"Deleting cluster {first}"]


def test_clusters_of_equal_specs_have_the_same_name(tmp_path: Path) -> None:
    clusters = TrialClusters(workspace(tmp_path), "a" * 31 + "b", print, keep=False)
    items = experiments.trials(spec(factors=TYPES | {"cluster.core.count": [3]}))
    names = {clusters.project(item.configuration.cluster).cluster.name for item in items}
    assert len(names) == 2
    assert all(len(name) <= 32 for name in names)


# --- room -----------------------------------------------------------------------------------------

# Two nodes with 12,288 MB for YARN and 4 cores each.
EMR = ClusterSpec()


def jobs(*executors: int, **settings: Any) -> list[SparkSettings]:
    return [
        SparkSettings.model_validate(SMALL | {"executors": count} | settings) for count in executors
    ]


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        (jobs(8), True),
        (jobs(4, 4), True),
        (jobs(4, 5), False),  # cores
        (jobs(1, 1, executor_memory="9g"), True),
        (jobs(1, 1, 1, executor_memory="9g"), False),  # memory
        (jobs(7, deploy_mode="cluster"), True),
        (jobs(8, deploy_mode="cluster"), False),  # the driver's core
        ([SparkSettings()], True),
        ([SparkSettings(), *jobs(1)], False),  # may use the whole cluster
        ([SparkSettings(max_executors=2, executor_cores=1, executor_memory="1g"), *jobs(6)], True),
    ],
)
def test_fit_together_counts_memory_and_cores(settings: list[SparkSettings], fits: bool) -> None:
    assert sizing.fit_together(EMR, settings) is fits


def test_fit_together_of_standalone_workers() -> None:
    cluster = Ec2ClusterSpec()
    assert sizing.fit_together(cluster, jobs(4, 4))
    assert not sizing.fit_together(cluster, jobs(4, 5))
    assert not sizing.fit_together(cluster, [*jobs(1), SparkSettings(executor_cores=1)])


def test_trial_whose_step_is_never_added_ends_after_some_attempts(tmp_path: Path) -> None:
    """A client in a throttled account submitted the same trial without an end."""
    space = workspace(tmp_path)

    def throttled(name: str, _arguments: Sequence[str]) -> str:
        raise UnavailableError(f"{name}: AWS throttled the request")

    space.fake.submit = throttled  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="no step was added in 3 attempts") as caught:
        experiment_state.run(space, spec(factors={"partitions": [1]}), Report(), RunOptions())
    assert "Run the same command again" in caught.value.hint
    assert [run.state for run in space.store.all()] == ["LOST"] * 3
