"""Running of an experiment: which trials are left, limits, stop rules, and the state of each."""

from __future__ import annotations

import fcntl
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from emrctl import redact
from emrctl.clusters import sizing
from emrctl.errors import EmrctlError, UsageError
from emrctl.runs import lifecycle
from emrctl.runs.experiments import trials
from emrctl.runs.record import Run, TrialFacts
from emrctl.runs.submission import Submission, expand, find_job
from emrctl.runs.trial_clusters import TrialClusters
from emrctl.runs.trials import Outlook, Trial, TrialReport, TrialRunner, Use
from emrctl.runs.workspace import Workspace
from emrctl.spec import ExperimentSpec
from emrctl.spec.experiments import BudgetSpec

Durations = Mapping[str, Sequence[float]]
# Returns why configurations need no more repeats, by name, from the durations of all repeats.
StopRule = Callable[[ExperimentSpec, Durations], Mapping[str, str]]


def check_room(workspace: Workspace, spec: ExperimentSpec, clusters: TrialClusters) -> None:
    """Raise `UsageError` with the configurations of which an executor is larger than any node."""
    common = find_job(spec.job, workspace.config).spec.settings
    faults = []
    for item in spec.combinations:
        cluster = clusters.check(item.cluster).cluster
        try:
            sizing.check_fits(cluster, common.merged(item.settings))
        except UsageError as error:
            faults.append(f"{item.name}: {error.message}")
    if faults:
        more = f"\n  and {len(faults) - 5} more configurations" if len(faults) > 5 else ""
        lines = "\n  ".join(faults[:5])
        msg = (
            f"{len(faults)} of {len(spec.combinations)} configurations do not fit\n  {lines}{more}"
        )
        raise UsageError(msg, hint="Exclude them with `constraints`, or set smaller values.")


class ExperimentState:
    """The trials of an experiment: finished ones with their runs, stopped ones, those left.

    A `TrialSource`. Completed trials of earlier clients with the same settings, arguments and
    environment are not repeated; an unfinished one is continued. `last` is the newest earlier run
    of each trial in any state. `enough` is why configurations are not repeated any more, `stopped`
    why no more trials start, e.g. the budget.
    """

    def __init__(
        self,
        workspace: Workspace,
        spec: ExperimentSpec,
        stored: Sequence[Run],
        rule: StopRule | None = None,
    ) -> None:
        self.spec, self._rule = spec, rule
        self.trials = trials(spec)
        self.runs: dict[TrialFacts, Run] = {}
        self.errors: dict[TrialFacts, EmrctlError] = {}
        self.enough: Mapping[str, str] = {}
        self.stopped = ""
        self.last: dict[TrialFacts, Run] = {}
        self._unfinished: dict[TrialFacts, Run] = {}
        self._started: set[TrialFacts] = set()
        self._every = {run.id: run for run in stored if is_of(run, spec.name)}
        self._adopt(workspace)

    def _adopt(self, workspace: Workspace) -> None:
        by_trial: dict[TrialFacts, list[Run]] = defaultdict(list)
        for run in self._every.values():
            if run.trial:
                by_trial[run.trial].append(run)
        job = find_job(self.spec.job, workspace.config)
        for trial in self.trials:
            settings = job.spec.settings.merged(trial.submission.settings).record()
            for run in reversed(by_trial[trial.facts]):
                if run.job == job.name and is_equal(run, settings, trial.submission):
                    self.last.setdefault(trial.facts, run)
                    if run.state == "COMPLETED":
                        self.runs[trial.facts] = run
                        break
                    if not run.finished:
                        self._unfinished[trial.facts] = run
                        break
        self._apply_rule()

    def next(self) -> Trial | None:
        """Return the first trial that is left, None if there is none or the budget is used up."""
        trial = next(iter(self.left()), None)
        if trial is None:
            return None
        run = self._unfinished.get(trial.facts)
        if run is None:
            self.stopped = self._over_budget(trial)
            if self.stopped:
                return None
        self._started.add(trial.facts)
        return replace(trial, run=run)

    def left(self) -> list[Trial]:
        """Return the trials that have not started; unfinished runs first."""
        left = [
            trial
            for trial in self.trials
            if trial.facts not in self._started
            and trial.facts not in self.runs
            and trial.facts not in self.errors
            and (trial.facts.cell not in self.enough or trial.facts in self._unfinished)
        ]
        return sorted(left, key=lambda trial: trial.facts not in self._unfinished)

    def finished(self, trial: Trial, run: Run) -> None:
        """Record the finished run of a trial."""
        self.runs[trial.facts] = self._every[run.id] = run
        self._apply_rule()

    def failed(self, trial: Trial, error: EmrctlError) -> None:
        """Record the error of all repeats of a configuration that are left."""
        for other in self.left():
            if other.facts.cell == trial.facts.cell:
                self.errors[other.facts] = error
        self.errors[trial.facts] = error

    def outlook(self) -> Outlook:
        """Return the numbers of trials, and use of the experiment with that of earlier clients."""
        failed = sum(run.state != "COMPLETED" for run in self.runs.values())
        return Outlook(
            done=len(self.runs) - failed,
            failed=failed + len(self.errors),
            left=len(self.left()),
            left_s=self._left_s(),
            use=Use.of(self._every.values()),
        )

    def durations(self) -> dict[str, list[float]]:
        """Return the durations of completed repeats by configuration, warm-up runs excluded."""
        durations: dict[str, list[float]] = {item.name: [] for item in self.spec.combinations}
        for facts, run in self.runs.items():
            if run.state == "COMPLETED" and run.duration_s is not None and not facts.warm_up:
                durations[facts.cell].append(run.duration_s)
        return durations

    def summary(self) -> list[dict[str, Any]]:
        """Return the state of each configuration: numbers of trials, mean duration, cost."""
        left = Counter(trial.facts.cell for trial in self.left())
        durations, rows = self.durations(), []
        for item in self.spec.combinations:
            runs = [run for facts, run in self.last.items() if facts.cell == item.name]
            states = Counter(run.state for run in runs)
            running = sum(not run.finished for run in runs)
            values = durations[item.name]
            rows.append(
                {
                    "configuration": item.name,
                    "done": states["COMPLETED"],
                    "failed": len(runs) - running - states["COMPLETED"],
                    "running": running,
                    "left": left[item.name] - running,
                    "mean_s": fmean(values) if values else None,
                    "usd": Use.of(r for r in self._every.values() if _cell(r) == item.name).usd,
                }
            )
        return rows

    def _expected_s(self, trial: Trial) -> float | None:
        """Return the mean duration of completed trials, of the same configuration if there are."""
        durations = self.durations()
        every = [value for values in durations.values() for value in values]
        values = durations[trial.facts.cell] or every
        return fmean(values) if values else None

    def _left_s(self) -> float | None:
        """Return the expected duration of all trials that are left; None before the first one."""
        durations = self.durations()
        every = [value for values in durations.values() for value in values]
        if not every:
            return None
        means = {name: fmean(values or every) for name, values in durations.items()}
        return sum(means[trial.facts.cell] for trial in self.left())

    def _apply_rule(self) -> None:
        if self.spec.stop is not None and self._rule is not None:
            self.enough = self._rule(self.spec, self.durations())

    def _over_budget(self, trial: Trial) -> str:
        """Return which limit the trial would exceed, or an empty text."""
        new = self._started - self.runs.keys() - self.errors.keys() - self._unfinished.keys()
        expected_s = self._expected_s(trial) or 0.0
        return over_budget(self.spec.budget, Use.of(self._every.values()), len(new), expected_s)


def over_budget(budget: BudgetSpec, use: Use, new: int, expected_s: float) -> str:
    """Return which limit a trial of `expected_s` would exceed, or an empty text.

    `new` is the number of started trials that are not in `use`.
    """
    if budget.runs is not None and use.runs + new >= budget.runs:
        return f"the budget of {budget.runs} runs is used up"
    share = use.usd / use.seconds if use.seconds else 0.0
    for name, limit, used, expected, unit in (
        ("time", budget.seconds, use.seconds, expected_s, "s"),
        ("cost", budget.usd, use.usd, expected_s * share, "USD"),
    ):
        if limit is not None and used + expected > limit:
            return (
                f"the {name} budget is {limit:g} {unit}: {used:.4g} {unit} are used, and the "
                f"next trial is expected to use {expected:.3g} {unit}"
            )
    return ""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run an experiment.

    `parallel` overrides the spec's. `keep`: do not delete created clusters. `fresh`: repeat
    completed trials. `rule` decides for `stop` of the spec.
    """

    parallel: int | None = None
    keep: bool = False
    fresh: bool = False
    rule: StopRule | None = None


def _cell(run: Run) -> str:
    return run.trial.cell if run.trial else ""


def is_of(run: Run, name: str) -> bool:
    """Return whether a run is of the experiment, and its step was submitted or may be."""
    submitted = run.step_id is not None or not run.finished
    return run.trial is not None and run.trial.experiment == name and submitted


def is_equal(run: Run, settings: Mapping[str, object], new: Submission) -> bool:
    """Return whether a run has the settings, arguments and environment of a submission."""
    return (
        dict(run.settings) == settings
        and _contains(run.arguments, redact.arguments(expand(new.arguments, run)))
        and redact.mapping(new.environment).items() <= run.environment.items()
    )


def _contains(whole: tuple[str, ...], part: tuple[str, ...]) -> bool:
    """Return whether `part` is a contiguous part of `whole`, which includes the job's arguments."""
    size = len(part)
    return any(whole[at : at + size] == part for at in range(len(whole) - size + 1))


def run(
    workspace: Workspace, spec: ExperimentSpec, report: TrialReport, options: RunOptions
) -> ExperimentState:
    """Run the trials that are left and return the state of the experiment.

    Failed trials are recorded while the rest runs. Clusters that the experiment created are
    deleted, also after an error or an interrupt.
    """
    with locked(workspace, spec.name):
        clusters = TrialClusters(workspace, spec.name, report.note, keep=options.keep)
        check_room(workspace, spec, clusters)
        stored = [] if options.fresh else lifecycle.refresh_all(workspace)
        state = ExperimentState(workspace, spec, stored, options.rule)
        parallel = options.parallel or spec.parallel
        try:
            TrialRunner(workspace, clusters, report, parallel).run(state)
        finally:
            clusters.delete_left()
    return state


@contextmanager
def locked(workspace: Workspace, name: str) -> Iterator[None]:
    """Keep other processes of this machine from running the same experiment.

    The lock ends with the process, however that ends.
    """
    folder = workspace.config.state_folder / "experiments"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"experiment '{name}' is running in another process"
            raise UsageError(msg, hint=f"Show it with `emrctl experiment show {name}`.") from error
        yield
