"""Solver `gram`: MLlib's models by way of Gram matrices, as Spark tasks that need no one's answer.

Pairs: classes are cut into groups; a tile is all pairs between two groups (`_plan.tiling`). Each
tile is one task (`_tiles`): it gets its classes' rows once, makes the blocks of K that its pairs
need, and trains all shares of a pair together. Nothing larger than a tile's rows is in one place.

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
from _descent import Array, Primal, Problem, Settings, Span, descend
from _learning import Block, Data, Group
from _plan import Node, Part, Sizes, Way
from _scores import scores_of
from _solvers import Fit, Solved, Task, Wanted
from _spread import spread
from _tiles import Keyed, Work, limited, only_wanted, tile_solver
from pyspark import StorageLevel


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
        sizes = sizes._replace(busy=_plan.busy(settings.loss))
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
        ones = Ones.of(tasks, data, settings)
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
    def of(cls, tasks: list[Task], data: Data, settings: Settings) -> Ones:
        """Counted from the splits."""
        shares = sorted({share for task in tasks for share in task.shares})
        u = np.sort(np.concatenate([list(paths.values()) for paths in data.splits.u.values()]))
        trained = tuple(int(np.searchsorted(u, share)) for share in shares)
        sizes = Sizes(len(u), trained, data.dimension, len(tasks), settings.iterations)
        return cls(tasks, shares, sizes._replace(busy=_plan.busy(settings.loss)))

    def models(self, part: Part) -> list[Task]:
        """The tasks that a part trains; a class may lack rows at a small share."""
        share = self.shares[part.share]
        return [task for task in self.tasks[part.first : part.last] if share in task.shares]


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
        with limited(work.threads):
            every = All([block for _, block in records], work.settings.precision)
            if way == "span":
                every.cross(ones.shares[max(part.share for part in parts)])
            for part in parts:
                tasks, share = ones.models(part), ones.shares[part.share]
                for task, fit in zip(tasks, every.fits(tasks, share, work) if tasks else []):
                    yield Task(task.group, (share,)), [fit]

    return solved


class All:
    """All rows of a task by u, and what the models of its shares have in common."""

    def __init__(self, blocks: list[Block], precision: str) -> None:
        u = np.concatenate([places for _, places, _ in blocks])
        names = np.concatenate([np.full(len(places), name, object) for name, places, _ in blocks])
        order = np.lexsort((names, u))
        self._names, self._u = names[order], u[order]
        self._told = np.lexsort((self._u, self._names))
        self._x = np.empty((len(u), blocks[0][2].shape[1]), dtype=precision)
        self._gram: Array | None = None
        place = np.empty(len(u), dtype=np.int64)
        place[order] = np.arange(len(u))
        end = len(u)
        while blocks:  # memory goes as it is copied
            _, _, x = blocks.pop()
            self._x[place[end - len(x) : end]] = x
            end -= len(x)

    def cross(self, largest: float) -> None:
        """Make the Gram matrix of the rows that train at the largest share."""
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
        margins = (weights @ self._x.T)[:, self._told]  # in the order of label and u
        tests, original = (self._u >= share)[None, self._told], positive[:, self._told]
        scores = [scores_of(margins[m : m + 1], original[m], tests)[0] for m in range(len(tasks))]
        return [Fit(weights[m], int(ran[m]), took, scores[m]) for m in range(len(tasks))]
