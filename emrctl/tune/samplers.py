"""Ways to choose the next configuration: emrctl's search, and Optuna's samplers beside it."""

from __future__ import annotations

import importlib
import math
import random
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from emrctl.errors import UsageError
from emrctl.tune.search import Goal, Search

Candidate = Mapping[str, float | str]
ATTEMPTS = 20  # proposals of an Optuna sampler until one is new


class Sampler(Protocol):
    """Chooses candidates by their position in a list, as `Search` does."""

    def ask(self, pending: Collection[int] = ()) -> int:
        """Return the candidate to measure next."""

    def tell(self, index: int, value: float) -> None:
        """Add a measurement; NaN or infinite if the configuration failed."""


class OptunaSampler:
    """One of Optuna's samplers over a list of candidates.

    Each feature is a parameter: numbers by the rank of their value, texts as categories. Proposals
    that are no candidate are replaced by the nearest one. Proposals that have been measured are
    answered with the mean of their measurements, at no cost.
    """

    def __init__(
        self, candidates: Sequence[Candidate], sampler: Any, *, goal: Goal = "minimise"
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        direction = "minimize" if goal == "minimise" else "maximize"
        self._study = optuna.create_study(direction=direction, sampler=sampler)
        self._goal = goal
        names = list(dict.fromkeys(name for item in candidates for name in item))
        self._space: dict[str, Any] = {}
        self._ordered, columns = [], []
        for name in names:
            levels = list(dict.fromkeys(item.get(name, "") for item in candidates))
            ordered = not any(isinstance(level, str) for level in levels)
            levels = sorted(levels, key=float) if ordered else levels
            self._ordered.append(ordered)
            columns.append([levels.index(item.get(name, "")) for item in candidates])
            self._space[name] = (
                optuna.distributions.IntDistribution(0, len(levels) - 1)
                if ordered
                else optuna.distributions.CategoricalDistribution(range(len(levels)))
            )
        self._rows = list(zip(*columns, strict=True))
        self._told: dict[int, list[float]] = {}
        self._open: dict[int, Any] = {}

    def ask(self, pending: Collection[int] = ()) -> int:
        """Return a new candidate; the first one that is left if Optuna proposes none."""
        import optuna

        left = [at for at in range(len(self._rows)) if at not in self._told and at not in pending]
        if not left:
            return min(self._told or range(len(self._rows)), key=lambda at: (at in pending, at))
        for _ in range(ATTEMPTS):
            trial = self._study.ask(self._space)
            at = self._nearest(tuple(trial.params[name] for name in self._space))
            if at in self._told:
                self._study.tell(trial, self._worth(at))
            elif at in pending:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self._open[at] = trial
                return at
        return left[0]

    def tell(self, index: int, value: float) -> None:
        """Add a measurement; failed configurations count as the worst one measured."""
        import optuna

        self._told.setdefault(index, []).append(value)
        trial = self._open.pop(index, None)
        if trial is None:
            names = dict(zip(self._space, self._rows[index], strict=True))
            self._study.add_trial(
                optuna.trial.create_trial(
                    params=names, distributions=self._space, value=self._worth(index)
                )
            )
        else:
            self._study.tell(trial, self._worth(index))

    def _worth(self, index: int) -> float:
        values = [value for value in self._told[index] if math.isfinite(value)]
        if values:
            return math.fsum(values) / len(values)
        every = [value for told in self._told.values() for value in told if math.isfinite(value)]
        worst = max if self._goal == "minimise" else min
        return worst(every, default=0.0)

    def _nearest(self, wanted: tuple[int, ...]) -> int:
        """Return the candidate that differs least: numbers by ranks, texts by 1 if they differ."""

        def distance(at: int) -> float:
            pairs = zip(self._ordered, self._rows[at], wanted, strict=True)
            return sum(abs(a - b) if ordered else float(a != b) for ordered, a, b in pairs)

        return min(range(len(self._rows)), key=distance)


class OrderSampler:
    """Takes the candidates in a fixed order."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order, self._told = order, set[int]()

    def ask(self, pending: Collection[int] = ()) -> int:
        """Return the first candidate that was not measured, or the first one if all were."""
        done = self._told.union(pending)
        return next((at for at in self._order if at not in done), self._order[0])

    def tell(self, index: int, value: float) -> None:  # noqa: ARG002 - the order is fixed
        """Do not propose `index` again."""
        self._told.add(index)


OPTUNA = {"tpe": "TPESampler", "gp": "GPSampler", "qmc": "QMCSampler"}
SAMPLERS = ("search", *OPTUNA, "grid", "random")


def create(
    name: str, candidates: Sequence[Candidate], *, seed: int, goal: Goal = "minimise"
) -> Sampler:
    """Return the sampler `name`, one of `SAMPLERS`; `grid` takes the candidates in their order.

    Raises `UsageError` if the sampler is unknown or its library is not installed.
    """
    if name not in SAMPLERS:
        raise UsageError(f"sampler '{name}' is unknown", hint=f"Use {', '.join(SAMPLERS)}.")
    if name == "search":
        return Search(candidates, seed=seed, goal=goal)
    order = list(range(len(candidates)))
    if name == "random":
        random.Random(seed).shuffle(order)  # noqa: S311 - not for secrets
    if name not in OPTUNA:
        return OrderSampler(order)
    try:
        import optuna

        if name == "gp":  # Optuna imports it in the first `ask`
            importlib.import_module("torch")
        with warnings.catch_warnings():  # some samplers are experimental
            warnings.simplefilter("ignore")
            sampler = getattr(optuna.samplers, OPTUNA[name])(seed=seed)
        return OptunaSampler(candidates, sampler, goal=goal)
    except ImportError as error:
        hint = f"Install {error.name}, or use another sampler."
        raise UsageError(f"the sampler '{name}' needs {error.name}", hint=hint) from error
