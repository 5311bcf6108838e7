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
from svm.dataset import Block, Dataset, TrainingTask
from svm.gradient_descent import (
    DescentSettings,
    GramState,
    PrimalState,
    RowWeights,
    descend,
)
from svm.scores import TrainedModel, score_models
from svm.solvers import (
    KeyedBlock,
    Solved,
    SolverSettings,
    blas_threads,
    run_tasks,
    select_weights,
)


def train(
    data: Dataset,
    tasks: Sequence[TrainingTask],
    settings: SolverSettings,
    log: Callable[[str], None],
) -> Solved:
    """Train all pairs in one Spark stage, then one-vs-all models in one (or one per step)."""
    pairs = [task for task in tasks if task.pair.task == "pairs"]
    ones = [task for task in tasks if task.pair.task != "pairs"]
    resources = cost_model.executor_resources(data.blocks.context, settings.memory_bytes)
    if pairs:
        yield from train_pairs(data, pairs, settings, resources, log)
    if ones:
        yield from one_vs_all.train(data, ones, settings, resources, log)


def train_pairs(
    data: Dataset,
    tasks: list[TrainingTask],
    settings: SolverSettings,
    resources: ExecutorResources,
    log: Callable[[str], None],
) -> Solved:
    """Train all pairs by the fastest tiling."""
    descent = settings.descent
    rows = {label: len(paths) for label, paths in data.splits.u.items()}
    models = max(len(task.shares) for task in tasks)
    changed = cost_model.changed_rows(descent.loss)
    total = sum(rows.values())
    size = ProblemSize(total, (), data.dimension, models, descent.iterations, changed)
    itemsize = np.dtype(descent.precision).itemsize
    tiling = cost_model.fastest_tiling(rows, size, resources, itemsize)
    number = len(tiling.tiles)
    settings = settings._replace(threads=resources.threads(number))
    log(f"pairs: {number} tiles of K, {settings.threads} BLAS threads each")
    tasks_by_tile: list[list[TrainingTask]] = [[] for _ in tiling.tiles]
    for task in tasks:
        tasks_by_tile[tiling.tile_of(task.pair.positive, task.pair.negative)].append(task)
    trainer = tile_trainer(tiling, tasks_by_tile, settings)
    yield from run_tasks(data.blocks, tiling.tiles_of, number, trainer)


def tile_trainer(
    tiling: Tiling, tasks_by_tile: list[list[TrainingTask]], settings: SolverSettings
) -> Callable[[int, Iterable[KeyedBlock]], Solved]:
    """Return a function for mapPartitionsWithIndex that trains the pairs of a tile."""

    def train_tile(number: int, records: Iterable[KeyedBlock]) -> Solved:
        right = tiling.tiles[number].right
        second = {label for label, group in tiling.group_of.items() if group == right}
        precision = settings.descent.precision
        blocks = GramBlocks((block for _, block in records), second, precision)
        with blas_threads(settings.threads):
            for task in sorted(tasks_by_tile[number], key=blocks.order):
                models = train_pair(task, blocks, settings.descent)
                yield task, select_weights(task, models, settings)

    return train_tile


class GramBlocks:
    """Blocks of K between the classes of a tile.

    Rows are kept as loaded (mostly float32), and those of two classes in the solver's precision.
    """

    def __init__(self, blocks: Iterable[Block], second: set[str], precision: str) -> None:
        """Collect the rows. Classes in `second` come after the others."""
        self._blocks: dict[str, list[Block]] = {}
        for block in blocks:
            self._blocks.setdefault(block[0], []).append(block)
        self.u = {
            label: np.sort(np.concatenate([u for _, u, _ in parts]))
            for label, parts in self._blocks.items()
        }
        labels = sorted(self.u, key=lambda label: (label in second, label))
        self._position = {label: number for number, label in enumerate(labels)}
        self._diagonal: dict[str, Array] = {}
        # Reused for all classes: allocation is expensive.
        width = self._blocks[labels[0]][0][2].shape[1] if labels else 0
        shape = (max(map(len, self.u.values()), default=0), width)
        self._buffers = [np.empty(shape, dtype=precision) for _ in range(2)]
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
            held = label, self._fill(label, self._buffers[side])
            self._held[side] = held
        return held[1]

    def _fill(self, label: str, buffer: Array) -> Array:
        """Write the rows of a class into a buffer, sorted by u. Return the used part of it."""
        blocks = self._blocks[label]
        ranks = np.empty(len(self.u[label]), dtype=np.int64)
        ranks[np.argsort(np.concatenate([u for _, u, _ in blocks]))] = np.arange(len(ranks))
        begin = 0
        for _, u, x in blocks:
            buffer[ranks[begin : begin + len(u)]] = x
            begin += len(u)
        return buffer[:begin]

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
