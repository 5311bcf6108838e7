"""Solver `gram`: the models of MLlib, computed from Gram matrices in independent Spark tasks.

Pairs: classes are divided into groups; a tile contains all pairs of two groups (see
`cost_model.fastest_tiling`). Each tile is a task: it receives the rows of its classes once,
computes the blocks of the Gram matrix K that its pairs need, and trains all shares of a pair
together. No task holds more than the rows of its tile.

One-vs-all: every model uses every row, see `one_vs_all`.

Rows are sorted by u before they are summed: results do not depend on the layout of the files.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Callable, NamedTuple

import numpy as np

from svm import Array, cost_model, one_vs_all
from svm.cost_model import ExecutorResources, ProblemSize, Tiling
from svm.dataset import Block, Dataset
from svm.gradient_descent import (
    DescentSettings,
    GramState,
    PrimalState,
    RowWeights,
    descend,
)
from svm.scores import score_models
from svm.solvers import (
    KeyedBlock,
    Solved,
    SolverOptions,
    TaskSettings,
    TrainedModel,
    blas_threads,
    run_tasks,
    select_weights,
)
from svm.splits import TrainingTask


class GramSolver:
    """Trains all pairs in one Spark stage, and all one-vs-all models in one (or one per step)."""

    needs_fixed_partitions = False

    def __init__(self, options: SolverOptions, log: Callable[[str], None]) -> None:
        self._options = options
        self._log = log

    def solve(
        self, data: Dataset, tasks: Sequence[TrainingTask], settings: DescentSettings
    ) -> Solved:
        """Train pairs, then one-vs-all models."""
        pairs = [task for task in tasks if task.pair.task == "pairs"]
        ones = [task for task in tasks if task.pair.task != "pairs"]
        context = data.blocks.context
        resources = cost_model.executor_resources(context, self._options.memory_bytes)
        task_settings = TaskSettings(settings, self._options, 1)
        if pairs:
            yield from self._train_pairs(data, pairs, task_settings, resources)
        if ones:
            yield from one_vs_all.train(data, ones, task_settings, resources, self._log)

    def _train_pairs(
        self,
        data: Dataset,
        tasks: list[TrainingTask],
        task_settings: TaskSettings,
        resources: ExecutorResources,
    ) -> Solved:
        descent = task_settings.descent
        rows = {label: len(paths) for label, paths in data.splits.u.items()}
        models = max(len(task.shares) for task in tasks)
        changed = cost_model.changed_rows(descent.loss)
        total = sum(rows.values())
        size = ProblemSize(total, (), data.dimension, models, descent.iterations, changed)
        itemsize = np.dtype(descent.precision).itemsize
        tiling = cost_model.fastest_tiling(rows, size, resources, itemsize)
        number = len(tiling.tiles)
        task_settings = task_settings._replace(threads=resources.threads(number))
        self._log(f"pairs: {number} tiles of K, {task_settings.threads} BLAS threads each")
        tasks_by_tile: list[list[TrainingTask]] = [[] for _ in tiling.tiles]
        for task in tasks:
            tile = tiling.tile_of(task.pair.positive, task.pair.negative)
            tasks_by_tile[tile].append(task)
        trainer = tile_trainer(tiling, tasks_by_tile, task_settings)
        yield from run_tasks(data.blocks, tiling.tiles_of, number, trainer)


def tile_trainer(
    tiling: Tiling, tasks_by_tile: list[list[TrainingTask]], task_settings: TaskSettings
) -> Callable[[int, Iterable[KeyedBlock]], Solved]:
    """Return a function for mapPartitionsWithIndex that trains the pairs of a tile."""

    def train(number: int, records: Iterable[KeyedBlock]) -> Solved:
        group_of, right = tiling.group_of, tiling.tiles[number].right
        rows = RowsByClass((block for _, block in records), task_settings.descent.precision)
        labels = sorted(rows.u, key=lambda label: (group_of[label] == right, label))
        blocks = GramBlocks(rows, labels)
        with blas_threads(task_settings.threads):
            for task in sorted(tasks_by_tile[number], key=blocks.order):
                models = train_pair(task, blocks, task_settings.descent)
                yield task, select_weights(task, models, task_settings.options)

    return train


class RowsByClass:
    """Rows of the classes of a tile, as loaded (mostly float32)."""

    def __init__(self, blocks: Iterable[Block], precision: str) -> None:
        self._blocks: dict[str, list[Block]] = {}
        for block in blocks:
            self._blocks.setdefault(block[0], []).append(block)
        self.u = {
            label: np.sort(np.concatenate([u for _, u, _ in parts]))
            for label, parts in self._blocks.items()
        }
        self._dtype = np.dtype(precision)
        self._max_rows = max(map(len, self.u.values()), default=0)

    def new_buffer(self) -> Array:
        """Allocate a buffer for the rows of any class, to be reused: allocation is expensive."""
        blocks = next(iter(self._blocks.values()), None)
        width = blocks[0][2].shape[1] if blocks else 0
        return np.empty((self._max_rows, width), dtype=self._dtype)

    def fill(self, label: str, buffer: Array) -> Array:
        """Write the rows of a class into a buffer, sorted by u. Return the used part of it."""
        blocks = self._blocks[label]
        ranks = np.empty(len(self.u[label]), dtype=np.int64)
        ranks[np.argsort(np.concatenate([u for _, u, _ in blocks]))] = np.arange(len(ranks))
        begin = 0
        for _, u, x in blocks:
            buffer[ranks[begin : begin + len(u)]] = x
            begin += len(u)
        return buffer[:begin]


class GramBlocks:
    """Blocks of K between the classes of a tile, with the rows of two classes in memory."""

    def __init__(self, rows: RowsByClass, labels: Sequence[str]) -> None:
        self.u = rows.u
        self._rows = rows
        self._position = {label: number for number, label in enumerate(labels)}
        self._diagonal: dict[str, Array] = {}
        self._buffers = (rows.new_buffer(), rows.new_buffer())
        self._held: list[tuple[str, Array] | None] = [None, None]

    def order(self, task: TrainingTask) -> tuple[int, int]:
        """Return a sort key for pairs that keeps a class in memory for all of its pairs."""
        first, second = self.labels(task)
        return self._position[first], self._position[second]

    def labels(self, task: TrainingTask) -> tuple[str, str]:
        """Return the classes of a pair in the order of their rows."""
        first, second = sorted(
            (task.pair.positive, task.pair.negative), key=lambda label: self._position[label]
        )
        return first, second

    def rows(self, labels: tuple[str, str]) -> tuple[Array, Array]:
        """Return the rows of both classes, sorted by u, valid until the next call."""
        first, second = (self._class_rows(side, label) for side, label in enumerate(labels))
        return first, second

    def _class_rows(self, side: int, label: str) -> Array:
        held = self._held[side]
        if held is None or held[0] != label:
            held = label, self._rows.fill(label, self._buffers[side])
            self._held[side] = held
        return held[1]

    def _diagonal_block(self, label: str, x: Array) -> Array:
        if label not in self._diagonal:
            self._diagonal[label] = x @ x.T
        return self._diagonal[label]

    def matrix(self, labels: tuple[str, str]) -> Array:
        """Return K of all rows of both classes, [n, n]."""
        one, other = self.rows(labels)
        first = len(one)
        matrix = np.empty((first + len(other), first + len(other)), dtype=one.dtype)
        matrix[:first, :first] = self._diagonal_block(labels[0], one)
        np.matmul(one, other.T, out=matrix[:first, first:])
        matrix[first:, :first] = matrix[:first, first:].T
        matrix[first:, first:] = self._diagonal_block(labels[1], other)
        return matrix


def train_pair(
    task: TrainingTask, blocks: GramBlocks, settings: DescentSettings
) -> list[TrainedModel]:
    """Train and score all shares of a pair."""
    start = time.perf_counter()
    labels = blocks.labels(task)
    u1, u2 = (blocks.u[label] for label in labels)
    u, shares = np.concatenate([u1, u2]), np.asarray(task.shares)
    positive = np.repeat([label == task.pair.positive for label in labels], (len(u1), len(u2)))
    weights = RowWeights.of(positive[None], u < shares[:, None], settings)
    models = descend_pair(blocks, labels, weights, settings)
    train_s = (time.perf_counter() - start) / len(shares)
    by_label = slice(None)
    if labels[0] > labels[1]:  # scores are sorted by label and u
        by_label = np.r_[len(u1) : len(u), : len(u1)]
    tests = u[by_label] >= shares[:, None]
    scores = score_models(models.margins[:, by_label], positive[by_label], tests)
    return [
        TrainedModel(models.weights[m], int(models.steps[m]), train_s, scores[m])
        for m in range(len(shares))
    ]


class PairModels(NamedTuple):
    """Models of one pair: number of steps [m], weights [m, d], margins of all rows [m, n]."""

    steps: Array
    weights: Array
    margins: Array


def descend_pair(
    blocks: GramBlocks, labels: tuple[str, str], weights: RowWeights, settings: DescentSettings
) -> PairModels:
    """Train with the Gram matrix of all rows of the pair, or with the rows if that is cheaper."""
    one, other = blocks.rows(labels)
    trains: Array = (weights.signed != 0).any(axis=0)
    changed = cost_model.changed_rows(settings.loss)
    trained = (int(trains.sum()),)
    models = len(weights.signed)
    size = ProblemSize(len(trains), trained, one.shape[1], models, settings.iterations, changed)
    if cost_model.cheaper(size) == "primal":
        primal = PrimalState(np.concatenate([one, other]), weights)
        steps = descend(primal, settings)
        margins = np.concatenate([primal.state @ one.T, primal.state @ other.T], axis=1)
        return PairModels(steps, primal.state, margins)
    gram = GramState(blocks.matrix(labels), weights)
    steps = descend(gram, settings)
    # Training rows are the first ones of each class.
    first, second = (int(part.sum()) for part in np.split(trains, [len(one)]))
    model_weights = gram.state[:, :first] @ one[:first]
    model_weights += gram.state[:, len(one) : len(one) + second] @ other[:second]
    return PairModels(steps, model_weights, gram.margins)
