"""The result of a search: the best configuration, how certain it is, and how to use it."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from emrctl.compare.scaling import pareto_front
from emrctl.compare.statistics import Difference, difference
from emrctl.errors import StepFailedError
from emrctl.spec.factors import Configuration
from emrctl.tune import Goal
from emrctl.tune.trials import TuneTrials

LEVELS = 4  # groups of a number with many values, for its importance


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration: numbers of runs, mean time and cost, its times against the reference's.

    `failure` is the reason of the last run that did not complete. `on_front`: no other one is both
    faster and cheaper.
    """

    name: str
    runs: int
    failed: int
    time_s: float | None
    usd: float | None
    difference: Difference | None
    on_front: bool
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """The result of a search.

    `rows` are ordered by the goal, those without a completed run last. For the goal `both`, the
    best has the lowest product of time and cost. `importance` is each factor's share of the
    expected variation between all configurations. `expected_gain` is that of one more
    configuration; with a probability of 90 % no other one gains more than `possible_gain`; both are
    fractions, for each goal. `noise` is the typical deviation of a repeat. `document` is the part
    of emrctl.yaml that makes the best configuration the job's own.
    """

    goal: str
    reference: str
    best: str
    rows: Sequence[Row]
    importance: Mapping[str, float]
    expected_gain: Mapping[str, float]
    possible_gain: Mapping[str, float]
    noise: float
    candidates: int
    stopped: str
    command: str
    document: Mapping[str, Any]


def result(trials: TuneTrials) -> TuneResult:
    """Return the result; raises `StepFailedError` if no run completed."""
    best = _best(trials)
    if best is None:
        reasons = [reason for item in trials.results.values() for reason in item.failures]
        hint = "List failures with `emrctl runs`; exclude configurations with `constraints`."
        first = f": {reasons[0]}" if reasons else ""
        raise StepFailedError(f"no run of '{trials.spec.name}' completed{first}", hint=hint)
    known = (*trials.candidates, *filter(None, [trials.default]))
    configuration = next(item for item in known if item.name == best)
    return TuneResult(
        goal=trials.options.goal,
        reference=trials.reference.name,
        best=best,
        rows=_rows(trials),
        importance=_importance(trials),
        expected_gain={goal: model.expected_gain() for goal, model in trials.models.items()},
        possible_gain={goal: model.possible_gain() for goal, model in trials.models.items()},
        noise=trials.noise(),
        candidates=len(trials.candidates),
        stopped=trials.stopped,
        command=command(trials.spec.job, configuration),
        document=document(trials.spec.job, configuration),
    )


def _best(trials: TuneTrials) -> str | None:
    ranked = [trials.ranked(goal) for goal in trials.goals]
    if not all(ranked):
        return None
    if len(ranked) == 1:
        return ranked[0][0]

    def product(name: str) -> float:
        return math.prod(fmean(trials.results[name].values(goal)) for goal in trials.goals)

    return min(set(ranked[0]).intersection(*ranked[1:]), key=product, default=ranked[0][0])


def _rows(trials: TuneTrials) -> list[Row]:
    names = [name for name, item in trials.results.items() if item.runs or item.failures]
    means = {name: [_mean(trials, name, goal) for goal in (Goal.time, Goal.cost)] for name in names}
    front = pareto_front([(means[name][0], means[name][1]) for name in names])
    reference = trials.results[trials.reference.name].values(Goal.time)
    rows = []
    for at, name in enumerate(names):
        item = trials.results[name]
        times = item.values(Goal.time)
        compared = reference and times and name != trials.reference.name
        rows.append(
            Row(
                name=name,
                runs=len(item.runs),
                failed=len(item.failures),
                time_s=means[name][0],
                usd=means[name][1],
                difference=difference(reference, times) if compared else None,
                on_front=at in front,
                failure=item.failures[-1] if item.failures else "",
            )
        )
    cost = trials.options.goal == Goal.cost
    return sorted(rows, key=lambda row: (row.usd if cost else row.time_s) or math.inf)


def _mean(trials: TuneTrials, name: str, goal: Goal) -> float | None:
    values = trials.results[name].values(goal)
    return fmean(values) if values else None


def _importance(trials: TuneTrials) -> dict[str, float]:
    """Return the share of the variance of expected logarithms between the levels of each factor.

    Averaged over the goals. Shares of factors that act together add up to less than 1.
    """
    names = list(dict.fromkeys(name for item in trials.candidates for name in item.values))
    totals: dict[str, list[float]] = {name: [] for name in names}
    for goal, model in trials.models.items():
        if all(trials.results[item.name].values(goal) == [] for item in trials.candidates):
            continue
        logs = [math.log(value) for value in model.predictions()]
        mean = fmean(logs)
        variance = fmean((value - mean) ** 2 for value in logs)
        for name in names:
            groups: dict[str, list[float]] = defaultdict(list)
            for level, value in zip(_levels(trials.candidates, name), logs, strict=True):
                groups[level].append(value)
            between = sum(len(own) * (fmean(own) - mean) ** 2 for own in groups.values())
            totals[name].append(between / len(logs) / variance if variance > 0 else 0.0)
    return {name: fmean(shares) if shares else 0.0 for name, shares in totals.items()}


def _levels(candidates: Sequence[Configuration], name: str) -> list[str]:
    """Return the level of each candidate; numbers with many values in groups of similar size."""
    values = [item.features().get(name) for item in candidates]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    distinct = sorted(set(numbers))
    if len(numbers) < len(values) or len(distinct) <= 2 * LEVELS:
        return [str(value) for value in values]
    bounds = [distinct[len(distinct) * at // LEVELS] for at in range(1, LEVELS)]
    return [str(sum(value >= bound for bound in bounds)) for value in numbers]


def command(job: str, item: Configuration) -> str:
    """Return the `emrctl submit` line of a configuration; fields of the cluster have no option."""
    words = ["emrctl", "submit"]
    settings = item.settings.model_dump(mode="json", exclude={"conf"}, exclude_unset=True)
    for name, value in settings.items():
        flag = f"--{name.replace('_', '-')}"
        if value is False and name == "dynamic_allocation":
            words.append("--no-dynamic-allocation")
        elif value is True:
            words.append(flag)
        elif value not in (None, False):
            for text in value if isinstance(value, list) else [value]:
                words += [flag, str(text)]
    for key, value in item.settings.conf.items():
        words += ["--conf", f"{key}={value}"]
    for key, value in item.env.items():
        words += ["--env", f"{key}={value}"]
    return shlex.join([*words, job, *item.args])


def document(job: str, item: Configuration) -> dict[str, Any]:
    """Return the part of emrctl.yaml that makes a configuration the job's own."""
    settings = item.settings.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    parts = {
        "args": list(item.args),
        "env": dict(item.env),
        "settings": {name: value for name, value in settings.items() if value not in ([], {})},
    }
    own = {name: part for name, part in parts.items() if part}
    written: dict[str, Any] = {"jobs": {job: own}} if own else {}
    for path, value in item.cluster.items():
        if value is not None:
            *parents, last = ("cluster", *path.split("."))
            node = written
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = int(value) if value.isdecimal() else value
    return written
