"""The trials of a search: which configuration runs next, from all results so far."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Self

from emrctl.compare.statistics import DEFAULT_PRIOR, difference, fit_prior
from emrctl.errors import EmrctlError
from emrctl.runs import experiments
from emrctl.runs.experiment_state import is_equal, is_of, over_budget
from emrctl.runs.record import Run, TrialFacts
from emrctl.runs.submission import find_job
from emrctl.runs.trials import Outlook, Trial, Use
from emrctl.runs.workspace import Workspace
from emrctl.spec import ExperimentSpec, ProjectSpec
from emrctl.spec.experiments import BudgetSpec
from emrctl.spec.factors import Configuration
from emrctl.tune import Goal, samplers
from emrctl.tune.samplers import Sampler
from emrctl.tune.search import Search

DEFAULT = "default"
FIRST = 4  # configurations that are measured before the expected gain can end a search
LARGE_GAIN = 0.05  # what no configuration may gain with a probability of 90 % at the end
CONTENDERS = 3  # configurations that are repeated at the end
RETRIES = 2  # of a configuration whose run was lost or interrupted with its cluster
_OUTSIDE = {"LOST", "INTERRUPTED"}  # the configuration is not the cause


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How to search.

    `limit` cancels a trial after this multiple of the default's duration. `repeats` is how often
    the default and the best configurations run at the end. `runs` overrides that of the budget,
    `budget` and `parallel` override the spec's. `keep`: do not delete created clusters. `fresh`:
    ignore earlier runs.
    """

    goal: Goal = Goal.time
    sampler: str = "search"
    runs: int | None = None
    limit: float = 3.0
    repeats: int = 3
    parallel: int | None = None
    keep: bool = False
    fresh: bool = False
    budget: BudgetSpec | None = None

    @classmethod
    def of(cls, project: ProjectSpec, spec: ExperimentSpec, given: Mapping[str, Any]) -> Self:
        """Return the options: `given` ones, else those of the experiment, else of emrctl.yaml.

        The budget of an experiment overrides that of the section `tune` of emrctl.yaml.
        """
        stored = project.tune.merged(spec.tune)
        values = {name: getattr(stored, name) for name in type(stored).model_fields}
        if spec.tune.budget is None and "budget" in spec.model_fields_set:
            values["budget"] = None
        values |= {name: value for name, value in given.items() if value is not None}
        return cls(**{**values, "goal": Goal(values["goal"])})


@dataclass
class Results:
    """The runs of one configuration; `failures` are the reasons of those that did not complete."""

    runs: list[Run] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    outside: int = 0

    def values(self, goal: Goal) -> list[float]:
        """Return the durations in seconds, or the costs in USD, of the completed runs."""
        values = (run.cost_usd if goal == Goal.cost else run.duration_s for run in self.runs)
        return [value for value in values if value]


class TuneTrials:
    """The trials of one search. A `TrialSource`.

    The first trial is the job as it is configured, if that can run (`default`, otherwise the first
    candidate). The second is the candidate at the index that `predict` returns for the first run,
    or `likely`. Then the sampler chooses, until the expected gain is below the noise and no large
    gain is likely. At the end the default and the best configurations are repeated while their
    order is uncertain. `stopped` is why no more trials start.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        candidates: Sequence[Configuration],
        options: TuneOptions,
        *,
        default: Configuration | None = None,
        likely: int | None = None,
        predict: Callable[[Run], int | None] = lambda _run: None,
    ) -> None:
        self.spec, self.options, self.default = spec, options, default
        self.candidates, self.likely, self._predict = candidates, likely, predict
        both = options.goal == Goal.both
        self.goals = (Goal.time, Goal.cost) if both else (options.goal,)
        self.results = {item.name: Results() for item in (*candidates, *filter(None, [default]))}
        self.stopped = ""
        self._index = {item.name: at for at, item in enumerate(candidates)}
        features = [_features(item) for item in candidates]
        self.models = {goal: Search(features, seed=spec.seed) for goal in self.goals}
        self._samplers: dict[str, Sampler] = {
            goal: model
            if options.sampler == "search"
            else samplers.create(options.sampler, features, seed=spec.seed)
            for goal, model in self.models.items()
        }
        self._every: dict[str, Run] = {}
        self._unfinished: list[Trial] = []
        self._active: dict[TrialFacts, Trial] = {}

    @property
    def reference(self) -> Configuration:
        """The default, otherwise the first candidate."""
        return self.default or self.candidates[0]

    @property
    def budget(self) -> BudgetSpec:
        """The limits of all runs of the search."""
        budget = self.options.budget or self.spec.budget
        if self.options.runs is None:
            return budget
        return budget.model_copy(update={"runs": self.options.runs})

    def adopt(self, workspace: Workspace, stored: Sequence[Run]) -> None:
        """Use earlier runs: those of this search, and completed ones with equal settings."""
        job = find_job(self.spec.job, workspace.config)
        core = workspace.project.cluster.core_group
        place = (workspace.target.kind, workspace.project.project, core.type, core.count)
        for item in (*self.candidates, *filter(None, [self.default])):
            new = experiments.submission(self.spec, item, self._facts(item, 1))
            settings = job.spec.settings.merged(new.settings).record()
            for run in stored:
                if run.job != job.name or not is_equal(run, settings, new):
                    continue
                if is_of(run, self.spec.name):
                    self._adopt_own(item, run)
                elif run.state == "COMPLETED" and _place(run) == place and not item.cluster:
                    self._record(item.name, run)

    def _adopt_own(self, item: Configuration, run: Run) -> None:
        if run.trial is None or run.trial.cell != item.name:
            return
        self._every[run.id] = run
        if run.finished:
            self._record(item.name, run)
        else:
            self._unfinished.append(self._trial(item, run))

    def _record(self, name: str, run: Run) -> None:
        results = self.results[name]
        if run.state == "COMPLETED":
            results.runs.append(run)
        elif run.state in _OUTSIDE and results.outside < RETRIES:
            results.outside += 1
            return
        else:
            results.failures.append(run.failure or run.state.lower())
        for goal in self.goals:
            values = Results(runs=[run]).values(goal) if run.state == "COMPLETED" else []
            self._tell(name, goal, values[0] if values else math.nan)

    def _tell(self, name: str, goal: Goal, value: float) -> None:
        if name in self._index:
            at = self._index[name]
            self.models[goal].tell(at, value)
            if self._samplers[goal] is not self.models[goal]:
                self._samplers[goal].tell(at, value)

    def next(self) -> Trial | None:
        """Return the next trial; None while the default runs, and at the end of the search."""
        if self._unfinished:
            trial = self._unfinished.pop()
        else:
            item = self._choose()
            if item is None:
                return None
            trial = self._trial(item, None)
            new = sum(active.run is None for active in self._active.values())
            use = Use.of(self._every.values())
            self.stopped = over_budget(self.budget, use, new, self._expected_s() or 0.0)
            if self.stopped:
                return None
        self._active[trial.facts] = trial
        return trial

    def _choose(self) -> Configuration | None:
        """Return the configuration to run next; None if there is none (see `stopped`)."""
        running = {facts.cell for facts in self._active}
        reference = self.reference
        if not self._is_known(reference.name):
            return None if reference.name in running else reference
        known = [at for name, at in self._index.items() if self._is_known(name)]
        pending = [self._index[name] for name in running if name in self._index]
        if self.likely is not None and self.likely not in (*known, *pending):
            return self.candidates[self.likely]
        if len({*known, *pending}) < len(self.candidates) and not self._is_converged(known):
            goal = self.goals[len(known) % len(self.goals)]
            return self.candidates[self._samplers[goal].ask(pending)]
        return self._repeat(running)

    def _is_known(self, name: str) -> bool:
        return bool(self.results[name].runs or self.results[name].failures)

    def _is_converged(self, known: Sequence[int]) -> bool:
        """Return whether the next run is expected to gain less than repeats differ.

        A large gain must be unlikely too, since each run may find only a part of it.
        """
        if len(known) < FIRST:
            return False
        noise = self.noise()
        return all(
            model.expected_gain() < noise and model.possible_gain() < max(LARGE_GAIN, 3 * noise)
            for model in self.models.values()
        )

    def noise(self) -> float:
        """Return the typical deviation of a repeat from its mean, as a fraction of it."""
        groups = [results.values(Goal.time) for results in self.results.values()]
        times = [value for group in groups for value in group]
        prior = fit_prior(groups) if any(len(group) > 1 for group in groups) else DEFAULT_PRIOR
        return math.sqrt(prior.variance(fmean(times))) if times else prior.deviation

    def _repeat(self, running: set[str]) -> Configuration | None:
        """Return the contender with the fewest runs, if one needs more."""
        names = self.contenders()
        count = Counter({name: len(self.results[name].runs) for name in names})
        count.update(name for name in running if name in count)
        left = [name for name in names if count[name] < self.options.repeats]
        if not left:
            if not running:
                self.stopped = self._end()
            return None
        name = min(left, key=lambda name: (count[name], names.index(name)))
        return next(item for item in (self.reference, *self.candidates) if item.name == name)

    def _end(self) -> str:
        if all(self._is_known(name) for name in self._index):
            return "all configurations were measured"
        gain = max(model.expected_gain() for model in self.models.values())
        return (
            f"the next configuration is expected to be better by {100 * gain:.1f} %, "
            f"less than repeats differ ({100 * self.noise():.1f} %)"
        )

    def contenders(self) -> list[str]:
        """Return the reference and the configurations that may be the best, the best first."""
        names: list[str] = []
        for goal in self.goals:
            ranked = self.ranked(goal)
            best = self.results[ranked[0]].values(goal) if ranked else []
            for name in ranked[:CONTENDERS]:
                values = self.results[name].values(goal)
                if name == ranked[0] or self._may_be_equal(best, values):
                    names.append(name)
        if self.results[self.reference.name].runs:
            names.append(self.reference.name)
        return list(dict.fromkeys(names))

    def _may_be_equal(self, best: Sequence[float], values: Sequence[float]) -> bool:
        if min(len(best), len(values)) < 2:
            return math.log(fmean(values) / fmean(best)) < 3 * self.noise()
        return difference(best, values).verdict != "slower"

    def ranked(self, goal: Goal) -> list[str]:
        """Return the configurations that completed, the one with the lowest mean first."""
        means = {
            name: fmean(values)
            for name, results in self.results.items()
            if (values := results.values(goal)) and len(results.failures) <= len(results.runs)
        }
        return sorted(means, key=lambda name: means[name])

    def finished(self, trial: Trial, run: Run) -> None:
        """Record the finished run of a trial."""
        self._active.pop(trial.facts, None)
        self._every[run.id] = run
        self._record(trial.facts.cell, run)
        if trial.configuration is self.reference and run.state == "COMPLETED":
            at = self._predict(run) if len(self._every) == 1 else None
            self.likely = self.likely if at is None else at

    def failed(self, trial: Trial, error: EmrctlError) -> None:
        """Record a configuration that cannot run."""
        self._active.pop(trial.facts, None)
        self.results[trial.facts.cell].failures.append(error.message)
        for goal in self.goals:
            self._tell(trial.facts.cell, goal, math.nan)

    def outlook(self) -> Outlook:
        """Return the number of trials; those left are an upper limit, without one the repeats."""
        done = sum(len(results.runs) for results in self.results.values())
        failed = sum(len(results.failures) for results in self.results.values())
        use, most = Use.of(self._every.values()), self._most_runs()
        left = max(0, most - use.runs)
        expected_s = self._expected_s()
        left_s = None if expected_s is None else left * expected_s
        return Outlook(done=done, failed=failed, left=left, left_s=left_s, use=use)

    def _most_runs(self) -> int:
        limits = [self.budget.runs, len(self.candidates)]
        return min(limit for limit in limits if limit is not None)

    def _expected_s(self) -> float | None:
        times = [v for results in self.results.values() for v in results.values(Goal.time)]
        return fmean(times) if times else None

    def _trial(self, item: Configuration, run: Run | None) -> Trial:
        number = 1 + max(
            (r.trial.repeat for r in self._every.values() if r.trial and r.trial.cell == item.name),
            default=0,
        )
        facts = run.trial if run is not None and run.trial else self._facts(item, number)
        times = self.results[self.reference.name].values(Goal.time)
        limit_s = self.options.limit * fmean(times) if times else None
        return Trial(
            facts=facts,
            configuration=item,
            submission=experiments.submission(self.spec, item, facts),
            number=len(self._every) + len(self._active) + 1,
            total=max(self._most_runs(), len(self._every) + len(self._active) + 1),
            run=run,
            limit_s=None if item is self.reference else limit_s,
        )

    def _facts(self, item: Configuration, repeat: int) -> TrialFacts:
        position = 0 if item is self.default else item.position + (self.default is not None)
        return TrialFacts(
            experiment=self.spec.name, cell=item.name, repeat=repeat, position=position
        )


def _features(item: Configuration) -> Mapping[str, float | str]:
    return {
        name: str(value) if isinstance(value, bool) else value
        for name, value in item.features().items()
        if value is not None
    }


def _place(run: Run) -> tuple[str, str, str, int] | None:
    """Return where a run's duration is comparable; None for a warm-up run."""
    if run.trial is not None and run.trial.warm_up:
        return None
    return run.target, run.project, run.cluster.core_type, run.cluster.core_count
