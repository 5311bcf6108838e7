"""Running of experiments: which trials run, limits, stop rules, killed clients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emrctl.errors import UsageError
from emrctl.runs import experiment_state, lifecycle
from emrctl.runs.backends.base import StepState
from emrctl.runs.experiment_state import ExperimentState, RunOptions
from emrctl.runs.record import Run
from emrctl.runs.trials import Use
from emrctl.spec import ExperimentSpec, ProjectSpec
from tests.facts import RUN
from tests.runs.fake_cluster import FakeWorkspace, Report, without_uploads

ROOT = Path(__file__).parents[2]
GRID = {
    "name": "grid",
    "job": "svm",
    "args": ["--features", "s3://{bucket}/f", "--seed", 1],
    "settings": {"dynamic_allocation": False, "executor_cores": 1, "executor_memory": "1g"},
    "factors": {"executors": [1, 2], "partitions": [8, 24]},
    "repeats": 2,
}


@pytest.fixture(autouse=True)
def _no_uploads() -> Iterator[None]:
    with without_uploads():
        yield


@pytest.fixture
def workspace(tmp_path: Path) -> FakeWorkspace:
    return FakeWorkspace(ProjectSpec(project="pets"), tmp_path)


def run(
    workspace: FakeWorkspace, options: RunOptions | None = None, **changes: Any
) -> tuple[ExperimentState, list[str]]:
    """Run the experiment; return its state and the trials that were submitted."""
    spec, report = ExperimentSpec.model_validate(GRID | changes), Report()
    state = experiment_state.run(workspace, spec, report, options or RunOptions())
    return state, report.ran


def states(*names: StepState) -> Any:
    """Return a function with these final states of the first steps; then COMPLETED."""
    left = list(names)
    return lambda _name: left.pop(0) if left else "COMPLETED"


def test_run_repeats_failed_trials_only(tmp_path: Path) -> None:
    finals = states("COMPLETED", "FAILED", "COMPLETED", "CANCELLED")
    workspace = FakeWorkspace(ProjectSpec(project="pets"), tmp_path, state=finals)
    state, first = run(workspace)
    assert len(first) == 8
    assert (state.outlook().done, state.outlook().failed, state.outlook().left) == (6, 2, 0)
    state, second = run(workspace)
    assert second == [first[1], first[3]]
    assert (state.outlook().done, state.outlook().failed) == (8, 0)
    assert [run.state for run in state.runs.values()] == ["COMPLETED"] * 8
    assert run(workspace)[1] == []
    assert len(run(workspace, RunOptions(fresh=True))[1]) == 8


@pytest.mark.parametrize(
    "change",
    [
        {"args": ["--seed", "2"]},
        {"settings": GRID["settings"] | {"executor_memory": "2g"}},  # type: ignore[operator]
        {"factors": GRID["factors"] | {"env.LEVEL": ["1"]}},  # type: ignore[operator]
    ],
)
def test_run_with_other_arguments_or_settings_repeats_trials(
    workspace: FakeWorkspace, change: dict[str, Any]
) -> None:
    run(workspace)
    assert len(run(workspace, None, **change)[1]) == 8


def test_run_submits_settings_arguments_and_environment_of_the_configuration(
    workspace: FakeWorkspace,
) -> None:
    factors = {"executors": [2], "conf.spark.x": ["1"], "args.--seed": [5], "env.LEVEL": ["2"]}
    state, _ = run(workspace, None, factors=factors, repeats=1)
    (stored,) = state.runs.values()
    assert dict(stored.settings) == {
        **GRID["settings"],  # type: ignore[dict-item]
        "executors": 2,
        "conf": {"spark.x": "1"},
    }
    assert stored.arguments[:4] == ("--features", "s3://b/f", "--seed", "5")
    assert stored.environment == {"LEVEL": "2"}


def test_run_continues_unfinished_run_first(workspace: FakeWorkspace) -> None:
    state, ran = run(workspace, repeats=1)
    *_, last = state.runs.values()
    unfinished = replace(last, id="other", state="RUNNING", started=None, ended=None)
    workspace.store.storage.delete(f"{last.id}/run.json")
    workspace.store.save(unfinished)
    report = Report()
    spec = ExperimentSpec.model_validate(GRID | {"repeats": 1})
    stored = list(workspace.store.all())
    again = ExperimentState(workspace, spec, stored)
    trial = again.next()
    assert trial is not None
    assert trial.run == unfinished
    assert again.next() is None
    experiment_state.run(workspace, spec, report, RunOptions())
    assert report.ran == []
    assert len(workspace.fake.names()) == len(ran)


def test_run_rejects_executors_larger_than_a_node_before_any_trial(
    workspace: FakeWorkspace,
) -> None:
    factors = {"executor_memory": ["1g", "90g"], "partitions": [8]}
    with pytest.raises(
        UsageError, match=r"1 of 2 configurations do not fit\n  executor_memory=90g"
    ):
        run(workspace, None, factors=factors)
    assert workspace.fake.names() == []


def test_run_stops_at_the_budget_and_continues_with_a_larger_one(workspace: FakeWorkspace) -> None:
    state, ran = run(workspace, budget={"runs": 3})
    assert len(ran) == 3
    assert state.stopped == "the budget of 3 runs is used up"
    assert state.outlook().left == 5
    # Each run takes 10 s, and the next one is expected to take as long.
    state, ran = run(workspace, budget={"time_s": 55})
    assert len(ran) == 2
    assert state.stopped == (
        "the time budget is 55 s: 50 s are used, and the next trial is expected to use 10 s"
    )
    usd = 7.5 * 10 * workspace.cluster().hourly_usd / 3600
    state, ran = run(workspace, budget={"usd": usd})
    assert len(ran) == 2
    assert state.stopped.startswith("the cost budget is ")
    state, ran = run(workspace)
    assert (len(ran), state.stopped, state.outlook().left) == (1, "", 0)


def test_stop_rule_ends_the_repeats_of_a_configuration(workspace: FakeWorkspace) -> None:
    def rule(spec: ExperimentSpec, durations: Any) -> dict[str, str]:
        return {name: "slower" for name, values in durations.items() if "8" in name and values}

    options = RunOptions(rule=rule)
    state, ran = run(workspace, options, stop={"worse": True}, repeats=3)
    assert sorted(name for name in ran if "=8" in name) == [
        "executors=1, partitions=8 1",
        "executors=2, partitions=8 1",
    ]
    assert sum("=24" in name for name in ran) == 6
    assert set(state.enough.values()) == {"slower"}
    assert len(state.enough) == 2
    assert len(run(workspace, options, repeats=3)[1]) == 4  # without `stop`


def test_summary_counts_states_of_each_configuration(tmp_path: Path) -> None:
    finals = states("COMPLETED", "FAILED")
    workspace = FakeWorkspace(ProjectSpec(project="pets"), tmp_path, state=finals)
    state, ran = run(workspace, budget={"runs": 3})
    spec = ExperimentSpec.model_validate(GRID)
    shown = ExperimentState(workspace, spec, lifecycle.refresh_all(workspace))
    rows = {row["configuration"]: row for row in shown.summary()}
    names = [name.rpartition(" ")[0] for name in ran]
    hourly = workspace.cluster().hourly_usd
    assert rows[names[0]] == {
        "configuration": names[0],
        "done": 1,
        "failed": 0,
        "running": 0,
        "left": 1,
        "mean_s": 10.0,
        "usd": pytest.approx(hourly * 10 / 3600),
    }
    assert [(rows[name]["failed"], rows[name]["left"]) for name in names[1:3]] == [(1, 2), (0, 1)]
    assert sum(row["left"] for row in rows.values()) == 6
    assert shown.outlook().left_s == 60.0
    assert state.outlook().use.runs == 3


def test_locked_rejects_a_second_client(workspace: FakeWorkspace) -> None:
    with experiment_state.locked(workspace, "grid"):
        with (
            pytest.raises(UsageError, match="experiment 'grid' is running in another process"),
            experiment_state.locked(workspace, "grid"),
        ):
            pass
        with experiment_state.locked(workspace, "other"):
            pass
    with experiment_state.locked(workspace, "grid"):
        pass


def _at(start: str, end: str | None, cluster: str = "j-1") -> Run:
    facts = replace(RUN.cluster, id=cluster, hourly_usd=3.6)
    day = "2026-11-20T10:"
    ended = f"{day}{end}+00:00" if end else None
    return replace(RUN, cluster=facts, started=f"{day}{start}+00:00", ended=ended)


def test_use_counts_the_time_of_parallel_runs_on_a_cluster_once() -> None:
    runs = [_at("00:00", "01:40"), _at("01:00", "02:00"), _at("03:00", "03:20")]
    use = Use.of([*runs, replace(RUN, started=None)])
    assert (use.runs, use.seconds) == (4, 140.0)
    assert use.usd == pytest.approx(0.14)
    use = Use.of([*runs, _at("00:30", "01:00", "j-2")])
    assert use.seconds == 140.0
    assert use.usd == pytest.approx(0.17)


def test_experiment_of_killed_clients_runs_every_trial_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.runs.killed_clients", str(tmp_path)]
    done = subprocess.run(
        [*command, "--trials", "10", "--kills", "5"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "10 trials, 5 kills" in done.stdout
    assert "10 steps; 0 trials lost, 0 run twice" in done.stdout
