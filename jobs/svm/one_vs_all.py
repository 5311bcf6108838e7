"""One-vs-all models of the solver `gram`: every model uses every row.

While the Gram matrix of all rows fits into a node's memory, each task trains some of the shares on
its leading blocks (rows are sorted by u: each share trains on the first rows). If the primal is
cheaper, or the Gram matrix does not fit, tasks use the rows directly. If not even the rows fit,
every gradient step of all models is one Spark job: weights [models, d] are broadcast, gradients of
the same size are summed in a tree, and nothing on the driver grows with the number of rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple

import numpy as np

from svm import Array, cost_model
from svm.cost_model import ExecutorResources, ModelSlice, ProblemSize, Strategy
from svm.dataset import Block, ClassPair, Dataset, TrainingTask, TrainTestSplits
from svm.gradient_descent import (
    DescentSettings,
    GramState,
    PrimalState,
    RowWeights,
    WeightState,
    descend,
    loss_gradient,
)
from svm.scores import TrainedModel, score_models
from svm.solvers import (
    KeyedBlock,
    Solved,
    SolverSettings,
    blas_threads,
    run_tasks,
    score_distributed,
    select_weights,
)


def train(
    data: Dataset,
    tasks: list[TrainingTask],
    settings: SolverSettings,
    resources: ExecutorResources,
    log: Callable[[str], None],
) -> Solved:
    """Train all one-vs-all models by the fastest strategy."""
    descent = settings.descent
    problem = OneVsAllProblem.of(tasks, data, descent)
    itemsize = np.dtype(descent.precision).itemsize
    strategy = cost_model.fastest_strategy(problem.size, resources, itemsize)
    threads = min(resources.threads(strategy.tasks), resources.cores)
    log(f"one-vs-all: {strategy}, {threads} BLAS threads each")
    if strategy.name == "distributed":
        solved = train_distributed(data, tasks, descent)
    else:
        solved = train_in_tasks(data, problem, strategy, settings._replace(threads=threads))
    for task, models in solved:
        yield task, select_weights(task, models, settings)


# ---- models in tasks -----------------------------------------------------------------------------


class OneVsAllProblem(NamedTuple):
    """All one-vs-all models: a task for each class, all shares, and the size of the problem."""

    tasks: list[TrainingTask]
    shares: list[float]
    size: ProblemSize

    @classmethod
    def of(
        cls, tasks: list[TrainingTask], data: Dataset, settings: DescentSettings
    ) -> OneVsAllProblem:
        """Derive the size from the splits."""
        shares = sorted({share for task in tasks for share in task.shares})
        u = np.sort(np.concatenate([list(paths.values()) for paths in data.splits.u.values()]))
        trained = tuple(int(np.searchsorted(u, share)) for share in shares)
        changed = cost_model.changed_rows(settings.loss)
        size = ProblemSize(
            len(u), trained, data.dimension, len(tasks), settings.iterations, changed
        )
        return cls(tasks, shares, size)

    def tasks_of(self, part: ModelSlice) -> list[TrainingTask]:
        """Return the tasks of a slice; a class may have no rows at a small share."""
        share = self.shares[part.share]
        return [task for task in self.tasks[part.first : part.last] if share in task.shares]


def train_in_tasks(
    data: Dataset, problem: OneVsAllProblem, strategy: Strategy, settings: SolverSettings
) -> Solved:
    """Train slices of the models in Spark tasks, each with all rows."""
    slices = cost_model.assign_slices(problem.size, strategy)
    trainer = slice_trainer(problem, slices, strategy.name, settings)
    every_task = list(range(strategy.tasks))
    models: dict[ClassPair, dict[float, TrainedModel]] = {}
    for task, trained in run_tasks(data.blocks, lambda _: every_task, strategy.tasks, trainer):
        models.setdefault(task.pair, {}).update(zip(task.shares, trained))
    for task in problem.tasks:
        yield task, [models[task.pair][share] for share in task.shares]


def slice_trainer(
    problem: OneVsAllProblem,
    slices: list[list[ModelSlice]],
    strategy: str,
    settings: SolverSettings,
) -> Callable[[int, Iterable[KeyedBlock]], Solved]:
    """Return a function for mapPartitionsWithIndex that trains the slices of a Spark task."""

    def train_slices(number: int, records: Iterable[KeyedBlock]) -> Solved:
        with blas_threads(settings.threads):
            trainer = SliceTrainer([block for _, block in records], settings.descent)
            if strategy == "gram":
                trainer.compute_gram(problem.shares[max(part.share for part in slices[number])])
            for part in slices[number]:
                tasks, share = problem.tasks_of(part), problem.shares[part.share]
                for task, model in zip(tasks, trainer.train(tasks, share) if tasks else []):
                    yield TrainingTask(task.pair, (share,)), [model]

    return train_slices


class SliceTrainer:
    """All rows, sorted by u, and the Gram matrix that the models of a Spark task share."""

    def __init__(self, blocks: list[Block], settings: DescentSettings) -> None:
        self._settings = settings
        u = np.concatenate([positions for _, positions, _ in blocks])
        labels = np.concatenate([np.full(len(part), name, object) for name, part, _ in blocks])
        order = np.lexsort((labels, u))
        self._labels, self._u = labels[order], u[order]
        self._by_label = np.lexsort((self._u, self._labels))
        self._x = np.empty((len(u), blocks[0][2].shape[1]), dtype=settings.precision)
        self._gram: Array | None = None
        rank = np.empty(len(u), dtype=np.int64)
        rank[order] = np.arange(len(u))
        end = len(u)
        while blocks:  # frees each block after it is copied
            _, _, x = blocks.pop()
            self._x[rank[end - len(x) : end]] = x
            end -= len(x)

    def compute_gram(self, largest_share: float) -> None:
        """Compute the Gram matrix of the rows that train at the largest share."""
        x = self._x[: np.searchsorted(self._u, largest_share)]
        self._gram = x @ x.T

    def train(self, tasks: list[TrainingTask], share: float) -> list[TrainedModel]:
        """Train and score the models of one share, one for each task."""
        start = time.perf_counter()
        n = int(np.searchsorted(self._u, share))
        positive = np.stack([self._labels == task.pair.positive for task in tasks])
        trains = np.ones((len(tasks), n), dtype=bool)
        row_weights = RowWeights.of(positive[:, :n], trains, self._settings)
        if self._gram is not None:
            gram = GramState(self._gram[:n, :n], row_weights)
            steps = descend(gram, self._settings)
            weights = gram.state @ self._x[:n]
        else:
            primal = PrimalState(self._x[:n], row_weights)
            steps = descend(primal, self._settings)
            weights = primal.state
        train_s = (time.perf_counter() - start) / len(tasks)
        margins = (weights @ self._x.T)[:, self._by_label]
        tests, labels = (self._u >= share)[None, self._by_label], positive[:, self._by_label]
        scores = [score_models(margins[m : m + 1], labels[m], tests)[0] for m in range(len(tasks))]
        return [
            TrainedModel(weights[m], int(steps[m]), train_s, scores[m]) for m in range(len(tasks))
        ]


# ---- a Spark job for each step -------------------------------------------------------------------


class OneVsAllModels(NamedTuple):
    """All models of all shares, and the weight of a row in each."""

    positives: list[str]  # positive class of each model
    shares: Array  # share of each model, [m]
    row_weights: Array  # weight of a row of the positive and of another class in the mean, [m, 2]

    @classmethod
    def of(
        cls, tasks: Sequence[TrainingTask], splits: TrainTestSplits, *, balance: bool
    ) -> OneVsAllModels:
        """Return the models of all tasks, in order."""
        keys = [(task.pair, share) for task in tasks for share in task.shares]
        row_weights = np.empty((len(keys), 2))
        for m, (pair, share) in enumerate(keys):
            counts = np.array(splits.sizes(pair, share)[:2], dtype=np.float64)
            row_weights[m] = 1 / (2 * counts) if balance else 1 / counts.sum()
        shares = np.array([share for _, share in keys])
        return cls([pair.positive for pair, _ in keys], shares, row_weights)

    def weights_of(self, label: str, u: Array, dtype: Any) -> RowWeights:
        """Return the weights of the rows of one class."""
        positive = np.array([label == name for name in self.positives])
        signs = np.where(positive, 1.0, -1.0)[:, None]
        weights = np.where(positive, self.row_weights[:, 0], self.row_weights[:, 1])[:, None]
        trains = u < self.shares[:, None]
        return RowWeights(signs.astype(dtype), (signs * weights * trains).astype(dtype))


class DistributedState(WeightState):
    """Weights [models, d] whose gradient is computed by a Spark job."""

    def __init__(self, data: Dataset, models: OneVsAllModels, precision: str) -> None:
        self._blocks = data.blocks
        self._models = models
        self._dtype = np.dtype(precision)
        self.state: Array = np.zeros((len(models.positives), data.dimension), dtype=precision)

    def gradient(self, loss: str) -> Array:
        """Return minus the gradient of the loss."""
        shared = self._blocks.context.broadcast(self.state)
        models, dtype = self._models, self._dtype

        def partial_gradient(blocks: Iterable[Block]) -> Iterator[Array]:
            total = np.zeros_like(shared.value)
            for label, u, x in blocks:
                weights = models.weights_of(label, u, dtype)
                total += loss_gradient(x.astype(dtype), shared.value, weights, loss)
            yield total

        gradient: Array = self._blocks.mapPartitions(partial_gradient).treeReduce(np.add)
        shared.destroy()
        return gradient


def train_distributed(
    data: Dataset, tasks: Sequence[TrainingTask], settings: DescentSettings
) -> Solved:
    """Train all models of all shares together, a Spark job for each step."""
    start = time.perf_counter()
    models = OneVsAllModels.of(tasks, data.splits, balance=settings.balance)
    state = DistributedState(data, models, settings.precision)
    steps = descend(state, settings)
    train_s = (time.perf_counter() - start) / len(steps)
    first = 0
    for task in tasks:
        own = slice(first, first + len(task.shares))
        first = own.stop
        weights = state.state[own].astype(np.float64)
        scores = score_distributed(data.blocks, task, weights.T)
        yield (
            task,
            [
                TrainedModel(model, int(count), train_s, score)
                for model, count, score in zip(weights, steps[own], scores)
            ],
        )
