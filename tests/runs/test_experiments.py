"""Experiments: their trials, and which of these are skipped or resumed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.errors import NotFoundError, UsageError
from emrctl.runs import experiments, submission
from emrctl.runs.experiments import Trial
from emrctl.runs.store import Run
from emrctl.runs.workspace import Workspace
from emrctl.spec import ExperimentSpec, ProjectSpec
from emrctl.spec.config import Config
from tests.facts import RUN

EXAMPLES = Path(__file__).parents[2] / "examples"
# In a separate process: the folder of the jobs must be first in sys.path.
_PARSED = "import sys; from svm import arguments; arguments.parse(sys.argv[1:])"
GRID = ExperimentSpec.model_validate(
    {
        "name": "grid",
        "job": "svm",
        "args": ["--features", "s3://{bucket}/f", "--seed", 1],
        "factors": {"executors": [2, 4], "partitions": [8, 24]},
        "repeats": 2,
    }
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    project = ProjectSpec(project="pets", experiments={"grid": GRID})
    return Workspace(Config(project, tmp_path, {}))


class Runner:
    """Returns finished runs; those of the trials in `fails` are FAILED."""

    def __init__(self, workspace: Workspace, fails: tuple[int, ...] = ()) -> None:
        self.workspace, self.fails = workspace, fails
        self.ran: list[int] = []

    def __call__(self, trial: Trial, unfinished: Run | None) -> Run:
        self.ran.append(trial.number)
        state = "FAILED" if trial.number in self.fails else "COMPLETED"
        run = replace(
            RUN,
            id=f"20261120-{len(self.workspace.store.ids()):04d}-svm",
            created=f"2026-11-20T10:00:{trial.number:02d}",
            state=state,
            settings=trial.settings.record(),
            arguments=("--features", "s3://b/f", "--seed", "1", "--output", "s3://b/x"),
            trial=trial.facts,
        )
        self.workspace.store.save(run)
        return run


def test_trials_interleaves_repeats() -> None:
    found = experiments.trials(GRID)
    assert [trial.facts.repeat for trial in found] == [1] * 4 + [2] * 4
    assert found[0].facts.cell == "executors=2, partitions=8"
    assert found[0].settings.record() == {"executors": 2, "partitions": 8}
    assert (found[-1].number, found[-1].total) == (8, 8)


def test_run_skips_completed_trials(workspace: Workspace) -> None:
    first = Runner(workspace, fails=(3,))
    experiments.run(workspace, GRID, first)
    second = Runner(workspace)
    found = experiments.run(workspace, GRID, second)
    assert first.ran == list(range(1, 9))
    assert second.ran == [3]
    assert [run.state for run in found] == ["COMPLETED"] * 8


def test_run_with_fresh_repeats_all_trials(workspace: Workspace) -> None:
    experiments.run(workspace, GRID, Runner(workspace))
    again = Runner(workspace)
    experiments.run(workspace, GRID, again, fresh=True)
    assert again.ran == list(range(1, 9))


@pytest.mark.parametrize(
    "change",
    [{"args": ("--seed", "2")}, {"settings": {"executor_cores": 2}}],
)
def test_run_with_other_arguments_or_settings_repeats_trials(
    workspace: Workspace, change: dict[str, object]
) -> None:
    experiments.run(workspace, GRID, Runner(workspace))
    changed = ExperimentSpec.model_validate({**GRID.model_dump(), **change})
    again = Runner(workspace)
    experiments.run(workspace, changed, again)
    assert len(again.ran) == 8


def test_results_returns_last_completed_run_of_each_trial(workspace: Workspace) -> None:
    found = experiments.run(workspace, GRID, Runner(workspace))
    assert experiments.results(workspace, "grid") == found
    with pytest.raises(NotFoundError, match="no completed run") as caught:
        experiments.results(workspace, "gird")
    assert "grid" in caught.value.hint


def test_load_accepts_file_or_name(workspace: Workspace, tmp_path: Path) -> None:
    assert experiments.load(workspace, "grid") == GRID
    with pytest.raises(NotFoundError, match="no experiment is called 'x'"):
        experiments.load(workspace, "x")
    path = tmp_path / "e.yaml"
    path.write_text("name: e1\njob: svm\nfactors:\n  executers: [1]\n")
    with pytest.raises(UsageError, match="factor 'executers' is not a Spark setting"):
        experiments.load(workspace, str(path))


def test_trials_with_configurations_override_common_settings() -> None:
    spec = replace_settings({"partitions": 24}, {"none": {}, "five": {"executors": 5}})
    assert [trial.settings.record() for trial in experiments.trials(spec)] == [
        {"partitions": 24},
        {"executors": 5, "partitions": 24},
    ]


def test_trials_with_published_times_carry_them(workspace: Workspace) -> None:
    document = replace_settings({}, {"none": {}, "five": {"executors": 5}}).model_dump()
    published = {"by": "the lecture", "minutes": {"five": 26}}
    spec = ExperimentSpec.model_validate({**document, "published": published})
    none, five = experiments.trials(spec)
    assert none.facts.published_s is None
    assert (five.facts.published_s, five.facts.published_by) == (1560.0, "the lecture")
    # A corrected figure makes no other trial of it.
    bare = ExperimentSpec.model_validate(document)
    assert [trial.facts for trial in experiments.trials(bare)] == [none.facts, five.facts]
    with pytest.raises(ValueError, match="no configuration is called 'six'"):
        ExperimentSpec.model_validate({**document, "published": {"by": "x", "minutes": {"six": 1}}})


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_load_of_every_example_gives_runnable_trials(workspace: Workspace, path: Path) -> None:
    spec = experiments.load(workspace, str(path))
    assert submission.find_job(spec.job, workspace.config).gallery
    assert experiments.trials(spec)
    taken = subprocess.run(
        [sys.executable, "-c", _PARSED, *spec.args, "--output", "o"],
        capture_output=True,
        text=True,
        check=False,
        cwd=EXAMPLES.parent / "jobs",
    )
    assert taken.returncode == 0, taken.stderr


def replace_settings(
    settings: dict[str, int], configurations: dict[str, dict[str, int]]
) -> ExperimentSpec:
    return ExperimentSpec.model_validate(
        {"name": "e1", "job": "svm", "settings": settings, "configurations": configurations}
    )


def test_run_after_killed_client_resumes_unfinished_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(workspace)
    done = runner(experiments.trials(GRID)[0], None)
    left = replace(done, id="20261120-9999-svm", state="RUNNING")
    workspace.store.save(left)
    monkeypatch.setattr("emrctl.runs.lifecycle.refresh", lambda _workspace, run: run)
    handed: list[Run | None] = []

    def note(trial: Trial, unfinished: Run | None) -> Run:
        handed.append(unfinished)
        return runner(trial, unfinished)

    experiments.run(workspace, GRID, note)
    assert handed[0] == left
