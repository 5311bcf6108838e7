"""Experiments: their trials, and which of these are skipped or resumed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.errors import NotFoundError, UsageError
from emrctl.runs import experiments, submission
from emrctl.runs.workspace import Workspace
from emrctl.spec import ExperimentSpec, ProjectSpec
from emrctl.spec.config import Config
from tests.facts import RUN

EXAMPLES = Path(__file__).parents[2] / "examples"
# In a separate process: the folder of the jobs must be first in sys.path.
_PARSED = """
import runpy, sys
sys.path.insert(0, ".")
from common import job
from pyspark.sql import SparkSession
job.run_job = lambda *_: 0
SparkSession.getActiveSession = lambda: sys.exit(0)  # wordcount does not use `common`
sys.exit(runpy.run_path(f"{sys.argv[1]}.py")["main"](sys.argv[2:]))
"""
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


def test_trials_order_is_balanced_and_depends_on_the_seed_alone() -> None:
    spec = ExperimentSpec.model_validate({**GRID.model_dump(), "repeats": 4})
    trials = experiments.trials(spec)
    assert [trial.facts.repeat for trial in trials] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    blocks = [[trial.facts.cell for trial in trials[at : at + 4]] for at in range(0, 16, 4)]
    assert blocks[1] == blocks[0][::-1]
    assert blocks[3] == blocks[2][::-1]
    assert all(sorted(block) == sorted(blocks[0]) for block in blocks)
    assert len(set(blocks[0])) == 4
    assert experiments.trials(spec) == trials
    orders = {
        tuple(trial.facts.cell for trial in experiments.trials(other))
        for seed in range(5)
        for other in [ExperimentSpec.model_validate({**GRID.model_dump(), "seed": seed})]
    }
    assert len(orders) > 1
    assert (trials[-1].number, trials[-1].total) == (16, 16)
    first = next(trial for trial in trials if trial.facts.position == 0)
    assert first.facts.cell == "executors=2, partitions=8"
    assert first.configuration.settings.record() == {"executors": 2, "partitions": 8}


def test_trials_are_grouped_by_cluster_with_warm_up_runs_first() -> None:
    spec = ExperimentSpec.model_validate(
        {
            "name": "e1",
            "job": "svm",
            "factors": {"cluster.core.count": [2, 3], "executors": [1, 2]},
            "warm_up": 2,
            "repeats": 2,
        }
    )
    trials = experiments.trials(spec)
    counts = [trial.configuration.cluster["core.count"] for trial in trials]
    assert counts == ["2"] * 6 + ["3"] * 6
    assert [trial.facts.repeat for trial in trials[:6]] == [-1, 0, 1, 1, 2, 2]
    assert [trial.facts.warm_up for trial in trials[:3]] == [True, True, False]
    assert trials[0].facts.cell == "cluster.core.count=2, executors=1"


def test_results_returns_last_completed_run_of_each_trial_reference_first(
    workspace: Workspace,
) -> None:
    spec = ExperimentSpec.model_validate({**GRID.model_dump(), "warm_up": 1})
    for second, trial in enumerate([*experiments.trials(spec), experiments.trials(spec)[-1]]):
        created = f"2026-11-20T10:00:{second:02d}"
        run = replace(RUN, id=f"r{second}", created=created, state="COMPLETED", trial=trial.facts)
        workspace.store.save(run)
    results = experiments.results(workspace, "grid")
    assert {run.id for run in results} == {f"r{number}" for number in (*range(1, 8), 9)}
    trials = [run.trial for run in results if run.trial]
    assert [(trial.position, trial.repeat) for trial in trials] == [
        (position, repeat) for position in range(4) for repeat in (1, 2)
    ]
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
    assert [item.settings.record() for item in spec.combinations] == [
        {"partitions": 24},
        {"executors": 5, "partitions": 24},
    ]


def test_trials_with_published_times_carry_them(workspace: Workspace) -> None:
    document = replace_settings({}, {"none": {}, "five": {"executors": 5}}).model_dump()
    published = {"by": "the lecture", "minutes": {"five": 26}}
    spec = ExperimentSpec.model_validate({**document, "published": published})
    none, five = sorted(experiments.trials(spec), key=lambda trial: trial.facts.position or 0)
    assert none.facts.published_s is None
    assert (five.facts.published_s, five.facts.published_by) == (1560.0, "the lecture")
    # A corrected figure makes no other trial of it.
    bare = ExperimentSpec.model_validate(document)
    assert {trial.facts.cell: trial.facts for trial in experiments.trials(bare)} == {
        "none": none.facts,
        "five": five.facts,
    }
    with pytest.raises(ValueError, match="no configuration is called 'six'"):
        ExperimentSpec.model_validate({**document, "published": {"by": "x", "minutes": {"six": 1}}})


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_load_of_every_example_gives_runnable_trials(workspace: Workspace, path: Path) -> None:
    spec = experiments.load(workspace, str(path))
    assert submission.find_job(spec.job, workspace.config).gallery
    *_, trial = experiments.trials(spec)
    taken = subprocess.run(
        [sys.executable, "-c", _PARSED, spec.job, *trial.configuration.args, "--output", "o"],
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
