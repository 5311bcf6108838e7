"""One-vs-all where not even the rows fit on a node: each step of all models is one Spark job.

The rows stay where they are. Weights [models, d] go out, sums of the same size come back by a tree:
nothing that passes the driver grows with the rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from _descent import Array, Problem, Settings, Weights, descend, pulled
from _learning import Block, Data, Splits
from _solvers import Fit, Solved, Task, scored


class Models(NamedTuple):
    """All models of all shares, and how much a row of each class pulls them.

    Attributes:
        positives: Of each model.
        shares: Of each model, [m].
        parts: What a row of the positive class, and one of another, counts in the mean, [m, 2].
    """

    positives: list[str]
    shares: Array
    parts: Array

    @classmethod
    def of(cls, tasks: Sequence[Task], splits: Splits, balance: bool) -> Models:
        """The models of all tasks, in their order."""
        keys = [(task.group, share) for task in tasks for share in task.shares]
        parts = np.empty((len(keys), 2))
        for m, (group, share) in enumerate(keys):
            counts = np.array(splits.sizes(group, share)[:2], dtype=np.float64)
            parts[m] = 1 / (2 * counts) if balance else 1 / counts.sum()
        shares = np.array([share for _, share in keys])
        return cls([group.positive for group, _ in keys], shares, parts)

    def problem(self, label: str, u: Array, kind: Any) -> Problem:
        """What the models make of the rows of one class."""
        mine = np.array([label == positive for positive in self.positives])
        signs = np.where(mine, 1.0, -1.0)[:, None]
        part = np.where(mine, self.parts[:, 0], self.parts[:, 1])[:, None]
        trains = u < self.shares[:, None]
        return Problem(signs.astype(kind), (signs * part * trains).astype(kind))


class Spread(Weights):
    """Weights [models, d] whose pulls are Spark jobs."""

    def __init__(self, data: Data, models: Models, precision: str) -> None:
        self._blocks = data.blocks
        self._models = models
        self._kind = np.dtype(precision)
        self.state: Array = np.zeros((len(models.positives), data.dimension), dtype=precision)

    def pull(self, loss: str) -> Array:
        """Rows summed by how much they pull, over all partitions."""
        carried = self._blocks.context.broadcast(self.state)
        models, kind = self._models, self._kind

        def summed(blocks: Iterable[Block]) -> Iterator[Array]:
            total = np.zeros_like(carried.value)
            for label, u, x in blocks:
                problem = models.problem(label, u, kind)
                total += pulled(x.astype(kind), carried.value, problem, loss)
            yield total

        whole: Array = self._blocks.mapPartitions(summed).treeReduce(np.add)
        carried.destroy()
        return whole


def spread(data: Data, tasks: Sequence[Task], settings: Settings) -> Solved:
    """All models of all shares, step by step together."""
    began = time.perf_counter()
    models = Models.of(tasks, data.splits, settings.balance)
    space = Spread(data, models, settings.precision)
    ran = descend(space, settings)
    took = (time.perf_counter() - began) / len(ran)
    first = 0
    for task in tasks:
        mine = slice(first, first + len(task.shares))
        first = mine.stop
        weights = space.state[mine].astype(np.float64)
        scores = scored(data.blocks, task, weights.T)
        made = zip(weights, ran[mine], scores)
        yield task, [Fit(model, int(steps), took, score) for model, steps, score in made]
