"""The loop of a search over real submissions, on a fake cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from emrctl.errors import StepFailedError, UsageError
from emrctl.runs import experiment_state
from emrctl.runs.experiment_state import RunOptions
from emrctl.spec import ExperimentSpec, ProjectSpec
from emrctl.spec.experiments import BudgetSpec, TuneSpec
from emrctl.tune import Goal, runner
from emrctl.tune.result import result
from emrctl.tune.samplers import SAMPLERS
from emrctl.tune.trials import TuneOptions, TuneTrials
from tests.runs.fake_cluster import FakeWorkspace, Report, without_uploads

SPEC = {
    "name": "search",
    "job": "svm",
    "args": ["--features", "s3://{bucket}/f"],
    "settings": {"dynamic_allocation": False, "executor_memory": "1g"},
    "factors": {"executors": [1, 2, 3, 4, 6], "partitions": [4, 16, 64, 256]},
}
Seconds = Callable[[int, int], float]


@pytest.fixture(autouse=True)
def _no_uploads() -> Iterator[None]:
    with without_uploads():
        yield


class Cluster(FakeWorkspace):
    """A fake cluster on which a job takes `seconds` of its executors and partitions."""

    def __init__(self, root: Path, seconds: Seconds) -> None:
        super().__init__(ProjectSpec(project="pets"), root, duration_s=self._duration_s)
        self._seconds, self._arguments = seconds, dict[str, Sequence[str]]()
        add = self.fake.submit

        def submit(name: str, arguments: Sequence[str]) -> str:
            self._arguments[name] = arguments
            return add(name, arguments)

        self.fake.__dict__["submit"] = submit

    def _duration_s(self, name: str) -> float:
        words = list(self._arguments[name])
        executors = (
            int(words[words.index("--num-executors") + 1]) if "--num-executors" in words else 1
        )
        given = [word for word in words if word.startswith("spark.default.parallelism=")]
        return self._seconds(executors, int(given[0].partition("=")[2]) if given else 2)


def seconds(executors: int, partitions: int) -> float:
    """Return a duration that is least for 6 executors and 16 partitions."""
    waves = max(1.0, 24 / partitions)
    return 20 + 240 * waves / executors + 0.8 * partitions


def search(
    workspace: Cluster, options: TuneOptions | None = None, **changes: Any
) -> tuple[TuneTrials, Report]:
    spec, report = ExperimentSpec.model_validate(SPEC | changes), Report()
    return runner.run(workspace, spec, report, options or TuneOptions()), report


def test_tune_finds_the_best_and_repeats_it_with_the_default(tmp_path: Path) -> None:
    found, report = search(Cluster(tmp_path, seconds))
    best = result(found)
    assert report.ran[0] == "default 1"
    assert report.ran[1].startswith("executors=6")
    assert best.best == "executors=6, partitions=16"
    assert best.reference == "default"
    assert len(report.ran) < 20
    rows = {row.name: row for row in best.rows}
    assert rows["default"].runs == rows[best.best].runs == 3
    verdict = rows[best.best].difference
    assert verdict is not None
    assert verdict.verdict == "faster"
    assert best.expected_gain["time"] < best.noise
    assert 0 <= best.possible_gain["time"] < 0.2
    assert "expected to be better by" in best.stopped


def test_tune_result_has_command_document_and_importance(tmp_path: Path) -> None:
    found, _ = search(Cluster(tmp_path, lambda executors, _: 600 / executors))
    best = result(found)
    assert best.command.startswith("emrctl submit --executors 6 --executor-memory 1g --partitions")
    assert best.command.endswith("--no-dynamic-allocation svm --features 's3://{bucket}/f'")
    assert best.document["jobs"]["svm"]["settings"]["executors"] == 6
    assert best.importance["executors"] > 0.8 > best.importance["partitions"]


def test_tune_continues_without_repeating_a_run(tmp_path: Path) -> None:
    workspace = Cluster(tmp_path, seconds)
    first, _ = search(workspace, TuneOptions(runs=3))
    assert first.stopped == "the budget of 3 runs is used up"
    second, report = search(workspace)
    assert "default 1" not in report.ran
    names = [run.trial for run in workspace.store.all()]
    assert len(set(names)) == len(names)
    assert result(second).best == "executors=6, partitions=16"
    third, report = search(workspace)
    assert report.ran == []
    assert result(third).best == result(second).best


def test_tune_uses_runs_of_an_experiment_with_equal_settings(tmp_path: Path) -> None:
    workspace = Cluster(tmp_path, seconds)
    grid = ExperimentSpec.model_validate(
        SPEC | {"name": "grid", "factors": {"executors": [1, 6], "partitions": [16, 64]}}
    )
    experiment_state.run(workspace, grid, Report(), RunOptions())
    found, report = search(workspace, TuneOptions(repeats=1))
    assert len(found.results["executors=6, partitions=64"].runs) == 1
    assert not any(text.startswith("executors=6, partitions=64") for text in report.ran)


def test_tune_goal_cost_and_both(tmp_path: Path) -> None:
    cheapest = search(Cluster(tmp_path / "a", seconds), TuneOptions(goal=Goal.cost))[0]
    assert result(cheapest).best == "executors=6, partitions=16"
    both = result(search(Cluster(tmp_path / "b", seconds), TuneOptions(goal=Goal.both))[0])
    assert set(both.expected_gain) == {"time", "cost"}
    assert [row.name for row in both.rows if row.on_front] == [both.best]


def test_tune_cancels_a_trial_beyond_the_limit(tmp_path: Path) -> None:
    found, report = search(Cluster(tmp_path, seconds), TuneOptions(runs=4, limit=2))
    limits = {found._trial(item, None).limit_s for item in found.candidates}
    assert limits == {2 * seconds(1, 2)}
    assert found._trial(found.reference, None).limit_s is None
    assert len(report.ran) == 4


def test_tune_failed_configurations_are_not_the_best(tmp_path: Path) -> None:
    workspace = Cluster(tmp_path, seconds)
    workspace.fake.state = lambda name: (
        "FAILED" if "6" in workspace._arguments[name][_at(workspace, name)] else "COMPLETED"
    )
    found = result(search(workspace)[0])
    assert found.best.startswith("executors=4")
    assert any(row.failed and not row.runs for row in found.rows)


def _at(workspace: Cluster, name: str) -> int:
    words = list(workspace._arguments[name])
    return words.index("--num-executors") + 1 if "--num-executors" in words else 0


def test_tune_without_a_completed_run_is_an_error(tmp_path: Path) -> None:
    workspace = Cluster(tmp_path, seconds)
    workspace.fake.state = lambda _name: "FAILED"
    found, _ = search(workspace, TuneOptions(runs=5))
    with pytest.raises(StepFailedError, match="no run of 'search' completed"):
        result(found)


def test_tune_leaves_out_configurations_that_do_not_fit(tmp_path: Path) -> None:
    factors = {"executor_memory": ["1g", "2g", "900g"], "executors": [1, 2]}
    found, report = search(Cluster(tmp_path, seconds), TuneOptions(runs=3), factors=factors)
    assert len(found.candidates) == 4
    assert report.notes[0].startswith("2 configurations do not fit and are left out: ")
    with pytest.raises(UsageError, match="none of 1 configurations fits"):
        search(
            Cluster(tmp_path / "b", seconds),
            factors={"executor_memory": ["900g"]},
            name="huge",
        )


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_tune_accepts_other_samplers(tmp_path: Path, sampler: str) -> None:
    options = TuneOptions(sampler=sampler, runs=8, repeats=1)
    found, report = search(Cluster(tmp_path, seconds), options)
    assert 4 <= len(report.ran) <= 8
    assert result(found).rows


def test_tune_runs_candidates_at_the_same_time(tmp_path: Path) -> None:
    project = {"step_concurrency": 4, "core": {"type": "m5.4xlarge", "count": 4}}
    workspace = Cluster(tmp_path, seconds)
    spec = ProjectSpec.model_validate({"project": "pets", "cluster": project})
    workspace.config.__dict__["project"] = spec
    search(workspace, TuneOptions(parallel=3, runs=8, repeats=1), settings={**_SMALL})
    names = [run.trial.cell for run in workspace.store.all() if run.trial]
    assert len(set(names)) == len(names)


_SMALL = {"dynamic_allocation": False, "executor_memory": "1g", "executor_cores": 1}


def _options(
    project: dict[str, Any], experiment: dict[str, Any], **given: Any
) -> tuple[TuneOptions, BudgetSpec]:
    spec = ExperimentSpec.model_validate(SPEC | {"budget": {"runs": 9}} | experiment)
    found = TuneOptions.of(
        ProjectSpec.model_validate({"project": "pets", "tune": project}), spec, given
    )
    return found, TuneTrials(spec, spec.combinations, found).budget


def test_options_are_given_ones_then_the_experiments_then_the_projects() -> None:
    project = {"goal": "cost", "limit": 2, "repeats": 4, "sampler": "random"}
    found, budget = _options(
        project, {"tune": {"limit": 5, "sampler": "tpe"}}, sampler="grid", repeats=None, fresh=True
    )
    assert found == TuneOptions(goal=Goal.cost, limit=5, repeats=4, sampler="grid", fresh=True)
    assert budget == BudgetSpec(runs=9)
    assert _options({}, {})[0] == TuneOptions()


def test_options_take_the_budget_of_the_search_then_of_the_experiment() -> None:
    project = {"budget": {"usd": 3}}
    assert _options(project, {"tune": {"budget": {"runs": 5}}})[1] == BudgetSpec(runs=5)
    assert _options(project, {})[1] == BudgetSpec(runs=9)
    spec = ExperimentSpec.model_validate(SPEC)
    found = TuneOptions.of(
        ProjectSpec.model_validate({"project": "pets", "tune": project}), spec, {}
    )
    assert found.budget == BudgetSpec(usd=3)


def test_budget_of_the_section_tune_ends_the_search(tmp_path: Path) -> None:
    spec = ExperimentSpec.model_validate(SPEC | {"tune": {"budget": {"runs": 2}}})
    workspace, report = Cluster(tmp_path, seconds), Report()
    found = runner.run(workspace, spec, report, TuneOptions.of(workspace.project, spec, {}))
    assert (len(report.ran), found.stopped) == (2, "the budget of 2 runs is used up")


def test_tune_section_has_every_sampler() -> None:
    assert get_args(TuneSpec.model_fields["sampler"].annotation) == SAMPLERS
