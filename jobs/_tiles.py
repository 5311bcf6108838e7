"""Pairs of classes in a Spark task: a tile's rows in, the models of all its pairs out.

Rows stay as they came, float32 mostly; of two classes at a time they are made what is multiplied.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, NamedTuple

import _plan
import numpy as np
from _descent import Array, Primal, Problem, Settings, Span, descend
from _learning import Block
from _plan import Sizes, Tiling
from _scores import best_of, figures, scores_of
from _solvers import Fit, Task, Wanted

Keyed = tuple[int, Block]


class Work(NamedTuple):
    """What every task is told."""

    settings: Settings
    wanted: Wanted
    threads: int


class limited:  # noqa: N801 - a context manager, named as what it does
    """BLAS with so many threads: more than the executor's cores would fight over them."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __enter__(self) -> None:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

        self._limits = threadpool_limits(limits=self._threads)

    def __exit__(self, *error: object) -> None:
        self._limits.unregister()


def only_wanted(task: Task, fits: list[Fit], wanted: Wanted) -> list[Fit]:
    """Fits with the weights that are to leave the task: float64 to keep, float32 to vote."""
    rows = [{"share": share, **figures(fit.scores.counts)} for share, fit in zip(task.shares, fits)]
    best = best_of(rows)

    def left(share: float, weights: Array | None) -> Array | None:
        chosen = best is not None and share == best["share"] and wanted.keep == "best"
        if weights is None or wanted.keep == "all" or chosen:
            return None if weights is None else weights.astype(np.float64)
        return weights.astype(np.float32) if wanted.voters else None

    told = wanted.says or task.group.task == "pairs"
    return [
        fit._replace(
            weights=left(share, fit.weights),
            scores=fit.scores if told else fit.scores._replace(says=b""),
        )
        for share, fit in zip(task.shares, fits)
    ]


# ---- rows in a task ------------------------------------------------------------------------------


class Rows:
    """Rows of some classes as they came, float32 mostly; one class at a time is multiplied."""

    def __init__(self, blocks: Iterable[Block], precision: str) -> None:
        self._parts: dict[str, list[Block]] = {}
        for block in blocks:
            self._parts.setdefault(block[0], []).append(block)
        self.u = {
            label: np.sort(np.concatenate([u for _, u, _ in parts]))
            for label, parts in self._parts.items()
        }
        self._kind = np.dtype(precision)
        self._most = max(map(len, self.u.values()), default=0)

    def room(self) -> Array:
        """Memory for the rows of any one class: fresh memory costs more than what is done in it."""
        width = next(iter(self._parts.values()))[0][2].shape[1] if self._parts else 0
        return np.empty((self._most, width), dtype=self._kind)

    def of(self, label: str, room: Array) -> Array:
        """The rows of a class by u, as they are multiplied, in that memory."""
        parts = self._parts[label]
        places = np.empty(len(self.u[label]), dtype=np.int64)
        places[np.argsort(np.concatenate([u for _, u, _ in parts]))] = np.arange(len(places))
        begin = 0
        for _, u, x in parts:
            room[places[begin : begin + len(u)]] = x
            begin += len(u)
        return room[:begin]


# ---- pairs ---------------------------------------------------------------------------------------


def tile_solver(
    cut: Tiling, by_tile: list[list[Task]], work: Work
) -> Callable[[int, Iterable[Keyed]], Iterator[tuple[Task, list[Fit]]]]:
    """For mapPartitionsWithIndex: a tile's rows in, the fits of its pairs out."""

    def solved(number: int, records: Iterable[Keyed]) -> Iterator[tuple[Task, list[Fit]]]:
        group_of, right = cut.group_of, cut.tiles[number].right
        rows = Rows((block for _, block in records), work.settings.precision)
        labels = sorted(rows.u, key=lambda label: (group_of[label] == right, label))
        crossing = Crossing(rows, labels)
        with limited(work.threads):
            for task in sorted(by_tile[number], key=crossing.row_then_column):
                yield task, pair_fits(task, crossing, work)

    return solved


class Crossing:
    """Blocks of K between the classes of a tile, in memory for two classes at a time."""

    def __init__(self, rows: Rows, labels: Sequence[str]) -> None:
        self.u = rows.u
        self._rows = rows
        self._place = {label: number for number, label in enumerate(labels)}
        self._own: dict[str, Array] = {}
        self._rooms = (rows.room(), rows.room())
        self._held: list[tuple[str, Array] | None] = [None, None]

    def row_then_column(self, task: Task) -> tuple[int, int]:
        """Pairs in the order in which a class that is held serves all of its own."""
        first, second = self.ends(task)
        return self._place[first], self._place[second]

    def ends(self, task: Task) -> tuple[str, str]:
        """A pair's classes in the order of their rows."""
        first, second = sorted(
            (task.group.positive, task.group.negative), key=lambda label: self._place[label]
        )
        return first, second

    def rows(self, ends: tuple[str, str]) -> tuple[Array, Array]:
        """Rows of both classes, by u; they hold until the next pair's are asked for."""
        first, second = (self._hold(side, label) for side, label in enumerate(ends))
        return first, second

    def _hold(self, side: int, label: str) -> Array:
        held = self._held[side]
        if held is None or held[0] != label:
            held = label, self._rows.of(label, self._rooms[side])
            self._held[side] = held
        return held[1]

    def own(self, label: str, x: Array) -> Array:
        """K of a class with itself."""
        if label not in self._own:
            self._own[label] = x @ x.T
        return self._own[label]

    def square(self, ends: tuple[str, str]) -> Array:
        """K of all rows of both classes, [n, n]."""
        one, other = self.rows(ends)
        first = len(one)
        whole = np.empty((first + len(other), first + len(other)), dtype=one.dtype)
        whole[:first, :first] = self.own(ends[0], one)
        np.matmul(one, other.T, out=whole[:first, first:])
        whole[first:, :first] = whole[:first, first:].T
        whole[first:, first:] = self.own(ends[1], other)
        return whole


def pair_fits(task: Task, crossing: Crossing, work: Work) -> list[Fit]:
    """All shares of one pair."""
    began = time.perf_counter()
    ends = crossing.ends(task)
    u1, u2 = (crossing.u[label] for label in ends)
    u, shares = np.concatenate([u1, u2]), np.asarray(task.shares)
    positive = np.repeat([label == task.group.positive for label in ends], (len(u1), len(u2)))
    problem = Problem.of(positive[None], u < shares[:, None], work.settings)
    made = pair_models(crossing, ends, problem, work.settings)
    took = (time.perf_counter() - began) / len(shares)
    by_name = slice(None)
    if ends[0] > ends[1]:  # answers are told in the order of label and u
        by_name = np.r_[len(u1) : len(u), : len(u1)]
    tests = u[by_name] >= shares[:, None]
    scores = scores_of(made.margins[:, by_name], positive[by_name], tests)
    fits = [Fit(made.weights[m], int(made.ran[m]), took, scores[m]) for m in range(len(shares))]
    return only_wanted(task, fits, work.wanted)


class Made(NamedTuple):
    """Models of one pair: steps each took [m], weights [m, d], margins of all rows [m, n]."""

    ran: Array
    weights: Array
    margins: Array


def pair_models(
    crossing: Crossing, ends: tuple[str, str], problem: Problem, settings: Settings
) -> Made:
    """Where it is cheaper by the Gram matrix of the pair's rows, those that test among them."""
    one, other = crossing.rows(ends)
    trains: Array = (problem.pulls != 0).any(axis=0)
    sizes = Sizes(len(trains), (int(trains.sum()),), one.shape[1], len(problem.pulls), 0)
    sizes = sizes._replace(iterations=settings.iterations, busy=_plan.busy(settings.loss))
    if _plan.cheaper(sizes) == "primal":
        primal = Primal(np.concatenate([one, other]), problem)
        ran = descend(primal, settings)
        margins = np.concatenate([primal.state @ one.T, primal.state @ other.T], axis=1)
        return Made(ran, primal.state, margins)
    span = Span(crossing.square(ends), problem)
    ran = descend(span, settings)
    first, second = (int(part.sum()) for part in np.split(trains, [len(one)]))  # by u: the first
    weights = span.state[:, :first] @ one[:first]
    weights += span.state[:, len(one) : len(one) + second] @ other[:second]
    return Made(ran, weights, span.margins)
