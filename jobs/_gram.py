"""Solver `gram`: MLlib's models by way of Gram matrices, as Spark tasks that need no one's answer.

Pairs: classes are cut into groups; a tile is all pairs between two groups (`_plan.tiling`). Each
tile is one task: it gets its classes' rows once, makes the blocks of K that its pairs need, and
trains all shares of a pair together. Nothing larger than a tile's rows is ever in one place.

One-vs-all: every model sees every row. While the Gram matrix of all rows fits on a node, tasks each
train some of the shares on leading squares of it (rows ordered by u: each share trains on the first
so many); where the primal is cheaper, or K does not fit, likewise with the rows themselves; and
where not even the rows fit, all models take each step in one Spark job over the blocks.

Rows are put in the order of u before anything is summed: results do not depend on how they came.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple

import _plan
import numpy as np
from _descent import Array, Primal, Problem, Settings, Space, Span, descend
from _learning import Block, Data, Group
from _plan import Node, Part, Sizes, Tiling, Way
from _scores import best_of, figures, scores_of
from _solvers import Fit, Solved, Task, Wanted
from _spread import spread
from pyspark import StorageLevel

Keyed = tuple[int, Block]


class Gram:
    """The solver: one Spark stage for all pairs, one (or one for each step) for all one-vs-all."""

    fixed = False

    def __init__(self, wanted: Wanted, say: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._say = say

    def solve(self, data: Data, tasks: Sequence[Task], settings: Settings) -> Solved:
        """Pairs, then one-vs-all."""
        pairs = [task for task in tasks if task.group.task == "pairs"]
        ones = [task for task in tasks if task.group.task != "pairs"]
        node = _plan.node_of(data.blocks.context, self._wanted.memory_bytes)
        if pairs:
            yield from self._pairs(data, pairs, settings, node)
        if ones:
            yield from self._ones(data, ones, settings, node)

    def _pairs(self, data: Data, tasks: list[Task], settings: Settings, node: Node) -> Solved:
        rows = {label: len(paths) for label, paths in data.splits.u.items()}
        models = max(len(task.shares) for task in tasks)
        sizes = Sizes(sum(rows.values()), (), data.dimension, models, settings.iterations)
        cut = _plan.tiling(rows, sizes, node, np.dtype(settings.precision).itemsize)
        number = len(cut.tiles)
        work = Work(settings, self._wanted, node.threads(number))
        self._say(f"pairs: {number} tiles of K, {work.threads} BLAS threads each")
        by_tile: list[list[Task]] = [[] for _ in cut.tiles]
        for task in tasks:
            by_tile[cut.of_pair(task.group.positive, task.group.negative)].append(task)
        sent = keyed(data.blocks, cut.of_label, number)
        solved = sent.mapPartitionsWithIndex(tile_solver(cut, by_tile, work))
        yield from streamed(solved)

    def _ones(self, data: Data, tasks: list[Task], settings: Settings, node: Node) -> Solved:
        ones = Ones.of(tasks, data, settings.iterations)
        way = _plan.way_of(ones.sizes, node, np.dtype(settings.precision).itemsize)
        work = Work(settings, self._wanted, min(node.threads(way.tasks), node.cores))
        self._say(f"one-vs-all: {way.told()}, {work.threads} BLAS threads each")
        if way.name == "spread":
            for task, fits in spread(data, tasks, settings):
                yield task, only_wanted(task, fits, self._wanted)
        else:
            yield from self._on_nodes(data, ones, way, work)

    def _on_nodes(self, data: Data, ones: Ones, way: Way, work: Work) -> Solved:
        hands = _plan.hands_of(ones.sizes, way)
        sent = keyed(data.blocks, lambda _: list(range(way.tasks)), way.tasks)
        solved = sent.mapPartitionsWithIndex(ones_solver(ones, hands, way.name, work))
        by_group: dict[Group, dict[float, Fit]] = {}
        for task, fits in streamed(solved):
            by_group.setdefault(task.group, {}).update(zip(task.shares, fits))
        for task in ones.tasks:
            fits = [by_group[task.group][share] for share in task.shares]
            yield task, only_wanted(task, fits, self._wanted)


class Ones(NamedTuple):
    """One-vs-all as a whole: a task for each class, the shares of all, how much work it is."""

    tasks: list[Task]
    shares: list[float]
    sizes: Sizes

    @classmethod
    def of(cls, tasks: list[Task], data: Data, iterations: int) -> Ones:
        """Counted from the splits."""
        shares = sorted({share for task in tasks for share in task.shares})
        u = np.sort(np.concatenate([list(paths.values()) for paths in data.splits.u.values()]))
        trained = tuple(int(np.searchsorted(u, share)) for share in shares)
        return cls(tasks, shares, Sizes(len(u), trained, data.dimension, len(tasks), iterations))

    def models(self, part: Part) -> list[Task]:
        """The tasks that a part trains; a class may lack rows at a small share."""
        share = self.shares[part.share]
        return [task for task in self.tasks[part.first : part.last] if share in task.shares]


class Work(NamedTuple):
    """What every task is told."""

    settings: Settings
    wanted: Wanted
    threads: int


def keyed(blocks: Any, places: Callable[[str], list[int]], number: int) -> Any:
    """RDD of (task, block): each class's rows at every task that needs them, a partition a task."""

    def sent(block: Block) -> Iterator[Keyed]:
        for place in places(block[0]):
            yield place, block

    return blocks.flatMap(sent).partitionBy(number, int)


def streamed(solved: Any) -> Solved:
    """What tasks made, one partition on the driver at a time, after all have run at once."""
    kept = solved.persist(StorageLevel.MEMORY_AND_DISK)
    kept.count()
    yield from kept.toLocalIterator()
    kept.unpersist()


class limited:  # noqa: N801 - a context manager, named as what it does
    """BLAS with so many threads: more than the executor's cores would fight over them."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __enter__(self) -> None:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

        self._limits = threadpool_limits(limits=self._threads)

    def __exit__(self, *error: object) -> None:
        self._limits.unregister()


# ---- rows in a task ------------------------------------------------------------------------------


class Rows(NamedTuple):
    """Rows of some classes: x [n, d] and u [n], each class in one piece, by u."""

    u: Array
    x: Array
    slices: dict[str, slice]

    @classmethod
    def of(cls, blocks: Iterable[Block], order: Callable[[str], Any], precision: str) -> Rows:
        """Blocks put together, the classes by `order`, each class's rows by u."""
        by_label: dict[str, list[Block]] = {}
        for block in blocks:
            by_label.setdefault(block[0], []).append(block)
        labels = sorted(by_label, key=lambda label: (order(label), label))
        total = sum(len(u) for parts in by_label.values() for _, u, _ in parts)
        width = next(iter(by_label.values()))[0][2].shape[1] if by_label else 0
        rows = cls(np.empty(total), np.empty((total, width), dtype=precision), {})
        begin = 0
        for label in labels:
            parts = by_label.pop(label)  # memory goes as it is copied
            begin = rows.put(label, parts, begin)
        return rows

    def put(self, label: str, parts: list[Block], begin: int) -> int:
        """Copy a class in, by u; where the next one begins."""
        u = np.concatenate([block[1] for block in parts])
        places = np.empty(len(u), dtype=np.int64)
        places[np.argsort(u)] = np.arange(len(u))
        done = 0
        for _, part, x in parts:
            self.x[begin + places[done : done + len(part)]] = x
            done += len(part)
        self.u[begin : begin + len(u)] = np.sort(u)
        self.slices[label] = slice(begin, begin + len(u))
        return begin + len(u)

    def of_label(self, label: str) -> tuple[Array, Array]:
        """u and x of a class, by u; views."""
        where = self.slices[label]
        return self.u[where], self.x[where]


# ---- pairs ---------------------------------------------------------------------------------------


def tile_solver(
    cut: Tiling, by_tile: list[list[Task]], work: Work
) -> Callable[[int, Iterable[Keyed]], Iterator[tuple[Task, list[Fit]]]]:
    """For mapPartitionsWithIndex: a tile's rows in, the fits of its pairs out."""

    def solved(number: int, records: Iterable[Keyed]) -> Iterator[tuple[Task, list[Fit]]]:
        group_of, tile = cut.group_of, cut.tiles[number]
        blocks = (block for _, block in records)
        rows = Rows.of(blocks, lambda label: group_of[label] == tile.right, work.settings.precision)
        crossing = Crossing(rows)
        with limited(work.threads):
            for task in sorted(by_tile[number], key=crossing.row_then_column):
                yield task, pair_fits(task, crossing, work)

    return solved


class Crossing:
    """Blocks of K between the classes of a tile, a strip of them for one class at a time."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._place = {label: number for number, label in enumerate(rows.slices)}
        self._own: dict[str, Array] = {}
        self._strip: tuple[str, int, Array] | None = None

    def row_then_column(self, task: Task) -> tuple[int, int]:
        """Pairs in the order in which a strip serves all of its own."""
        first, second = self.ends(task)
        return self._place[first], self._place[second]

    def ends(self, task: Task) -> tuple[str, str]:
        """A pair's classes in the order of their rows."""
        first, second = sorted(
            (task.group.positive, task.group.negative), key=lambda label: self._place[label]
        )
        return first, second

    def own(self, label: str) -> Array:
        """K of a class with itself."""
        if label not in self._own:
            x = self.rows.of_label(label)[1]
            self._own[label] = x @ x.T
        return self._own[label]

    def between(self, first: str, second: str) -> Array:
        """K of a class with a later one: cut from the strip of the first with all from there on."""
        where = self.rows.slices[second]
        if self._strip is None or self._strip[0] != first or where.start < self._strip[1]:
            x = self.rows.of_label(first)[1]
            self._strip = (first, where.start, x @ self.rows.x[where.start :].T)
        begin = self._strip[1]
        return self._strip[2][:, where.start - begin : where.stop - begin]

    def square(self, ends: tuple[str, str], sizes: tuple[int, int]) -> Array:
        """K of the first so many rows of both classes, [n, n]."""
        first, second = sizes
        cross = self.between(*ends)[:first, :second]
        whole = np.empty((first + second, first + second), dtype=self.rows.x.dtype)
        whole[:first, :first] = self.own(ends[0])[:first, :first]
        whole[:first, first:] = cross
        whole[first:, :first] = cross.T
        whole[first:, first:] = self.own(ends[1])[:second, :second]
        return whole


def pair_fits(task: Task, crossing: Crossing, work: Work) -> list[Fit]:
    """All shares of one pair."""
    began = time.perf_counter()
    ends = crossing.ends(task)
    (u1, x1), (u2, x2) = map(crossing.rows.of_label, ends)
    shares = np.asarray(task.shares)
    sizes = tuple(int(np.searchsorted(u, shares[-1])) for u in (u1, u2))
    u = np.concatenate([u1[: sizes[0]], u2[: sizes[1]]])
    positive = np.repeat([label == task.group.positive for label in ends], sizes)[None]
    problem = Problem.of(positive, u < shares[:, None], work.settings)
    counted = Sizes(len(u), (len(u),), x1.shape[1], len(shares), work.settings.iterations)
    space: Space
    if _plan.cheaper(counted) == "span":
        space = Span(crossing.square(ends, (sizes[0], sizes[1])), problem)
        ran = descend(space, work.settings)
        state = space.state
        weights = state[:, : sizes[0]] @ x1[: sizes[0]] + state[:, sizes[0] :] @ x2[: sizes[1]]
    else:
        space = Primal(np.concatenate([x1[: sizes[0]], x2[: sizes[1]]]), problem)
        ran = descend(space, work.settings)
        weights = space.state
    took = (time.perf_counter() - began) / len(shares)
    margins = np.concatenate([weights @ x1.T, weights @ x2.T], axis=1)
    places = np.concatenate([u1, u2])
    of_positive = np.repeat([label == task.group.positive for label in ends], (len(u1), len(u2)))
    by_name = slice(None)
    if ends[0] > ends[1]:  # answers are told in the order of label and u
        by_name = np.r_[len(u1) : len(places), : len(u1)]
    tests = places[by_name] >= shares[:, None]
    scores = scores_of(margins[:, by_name], of_positive[by_name], tests)
    fits = [Fit(weights[m], int(ran[m]), took, scores[m]) for m in range(len(shares))]
    return only_wanted(task, fits, work.wanted)


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


# ---- one against all -----------------------------------------------------------------------------


def ones_solver(
    ones: Ones, hands: list[list[Part]], way: str, work: Work
) -> Callable[[int, Iterable[Keyed]], Iterator[tuple[Task, list[Fit]]]]:
    """For mapPartitionsWithIndex: all rows in, the fits of some models out.

    Args:
        ones: Everything that is to be trained.
        hands: The parts of each Spark task.
        way: `span` or `primal`.
        work: What every task is told.
    """

    def solved(number: int, records: Iterable[Keyed]) -> Iterator[tuple[Task, list[Fit]]]:
        parts = hands[number]
        rows = Rows.of((block for _, block in records), str, work.settings.precision)
        with limited(work.threads):
            every = All(rows, ones.shares[max(part.share for part in parts)], way)
            for part in parts:
                tasks, share = ones.models(part), ones.shares[part.share]
                for task, fit in zip(tasks, every.fits(tasks, share, work) if tasks else []):
                    yield Task(task.group, (share,)), [fit]

    return solved


class All:
    """All rows of a task by u, and what the models of its shares have in common."""

    def __init__(self, rows: Rows, largest: float, way: str) -> None:
        self._order = np.argsort(rows.u, kind="stable")
        names = np.empty(len(rows.u), dtype=object)
        for label, where in rows.slices.items():
            names[where] = label
        self._names = names[self._order]
        self._u = rows.u[self._order]
        self._x = rows.x[self._order]
        self._gram = None
        if way == "span":
            x = self._x[: np.searchsorted(self._u, largest)]
            self._gram = x @ x.T

    def fits(self, tasks: list[Task], share: float, work: Work) -> list[Fit]:
        """Models of one share, one for each task."""
        began = time.perf_counter()
        n = int(np.searchsorted(self._u, share))
        positive = np.stack([self._names == task.group.positive for task in tasks])
        problem = Problem.of(positive[:, :n], np.ones((len(tasks), n), dtype=bool), work.settings)
        if self._gram is not None:
            span = Span(self._gram[:n, :n], problem)
            ran = descend(span, work.settings)
            weights = span.state @ self._x[:n]
        else:
            primal = Primal(self._x[:n], problem)
            ran = descend(primal, work.settings)
            weights = primal.state
        took = (time.perf_counter() - began) / len(tasks)
        margins = np.empty((len(tasks), len(self._u)), dtype=weights.dtype)
        margins[:, self._order] = weights @ self._x.T  # told in the order of label and u
        tests = np.empty((1, len(self._u)), dtype=bool)
        tests[:, self._order] = self._u >= share
        original = np.empty_like(positive)
        original[:, self._order] = positive
        scores = [scores_of(margins[m : m + 1], original[m], tests)[0] for m in range(len(tasks))]
        return [Fit(weights[m], int(ran[m]), took, scores[m]) for m in range(len(tasks))]
