"""All classes at once: the largest of one-vs-all's margins, or the votes of all pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from _common import JobError
from _descent import Array
from _learning import Block, Data, Group
from _scores import Row, class_figures, votes
from _solvers import Fit, Task

TOGETHER = 1000  # rows
LIMIT_BYTES = (
    512 << 20
)  # of weights on the driver: half of Spark's default spark.driver.maxResultSize
METHODS = {"pairs": "voting", "one-vs-all": "one-vs-all"}


def wanted(tasks: Sequence[Task], classes: int, dimension: int) -> dict[str, str]:
    """Which tasks can say a class, and for those that cannot the reason; empty: they can.

    Args:
        tasks: Everything that is trained.
        classes: How many take part.
        dimension: Features of a row.
    """
    reasons = {}
    for name, whole in (("pairs", classes * (classes - 1) // 2), ("one-vs-all", classes)):
        mine = [task for task in tasks if task.group.task == name]
        models = sum(len(task.shares) for task in mine)
        if not mine:
            continue
        if len(mine) < whole:
            reasons[name] = "not all models of all classes are trained"
        elif models * dimension * 4 > LIMIT_BYTES:
            size = models * dimension * 4 >> 20
            reasons[name] = f"the weights of {models} models take {size} MB on the driver"
        else:
            reasons[name] = ""
    return reasons


class Ballot:
    """Weights by task and share as they come; then one pass over the rows for all of them."""

    def __init__(self, classes: Sequence[str], names: Iterable[str]) -> None:
        self._classes = list(classes)
        self.names = set(names)
        self._whole = {"pairs": len(classes) * (len(classes) - 1) // 2}
        self._weights: dict[tuple[str, float], Array] = {}
        self._ends: dict[tuple[str, float], list[tuple[int, int]]] = {}

    def add(self, task: Task, fits: Sequence[Fit]) -> None:
        """Take a group's models in, in float32."""
        group = task.group
        if group.task not in self.names:
            return
        number = {label: place for place, label in enumerate(self._classes)}
        ends = number[group.positive], number.get(group.negative, -1)
        for share, fit in zip(task.shares, fits):
            if fit.weights is not None:
                key = (group.task, share)
                self._place(key, len(fit.weights))[:] = fit.weights
                self._ends[key].append(ends)

    def _place(self, key: tuple[str, float], dimension: int) -> Array:
        """Where the next model's weights go: all of a share lie together, in float32."""
        if key not in self._weights:
            size = self._whole.get(key[0], len(self._classes))
            self._weights[key] = np.empty((size, dimension), dtype=np.float32)
            self._ends[key] = []
        place: Array = self._weights[key][len(self._ends[key])]
        return place

    def confusions(self, data: Data) -> dict[tuple[str, float], Array]:
        """Confusion matrices [classes that are, classes said] by task and share."""
        keys = [
            key
            for key, models in sorted(self._weights.items())
            if len(self._ends[key]) == len(models)
        ]
        if not keys:
            return {}
        models = {key: (self._weights[key], np.array(self._ends[key])) for key in keys}
        carried = data.blocks.context.broadcast(models)
        classes = self._classes

        def counted(blocks: Iterable[Block]) -> Iterator[Array]:
            total = np.zeros((len(keys), len(classes), len(classes)), dtype=np.int64)
            for actual, u, x in together(blocks, classes):
                for place, key in enumerate(keys):
                    first = int(np.searchsorted(u, key[1]))
                    said = answers(x[first:], carried.value[key], len(classes))
                    np.add.at(total[place], (actual[first:], said), 1)
            yield total

        totals = data.blocks.mapPartitions(counted).reduce(np.add)
        carried.destroy()
        return dict(zip(keys, totals))


def together(
    blocks: Iterable[Block], classes: Sequence[str]
) -> Iterator[tuple[Array, Array, Array]]:
    """Numbers of the classes, u and x (float32) of some thousand rows at a time, by u.

    A product with all models' weights is many times slower for the few rows of a block.
    """
    held: list[Block] = []
    for block in blocks:
        held.append(block)
        if sum(len(u) for _, u, _ in held) >= TOGETHER:
            yield stacked(held, classes)
            held = []
    if held:
        yield stacked(held, classes)


def stacked(blocks: list[Block], classes: Sequence[str]) -> tuple[Array, Array, Array]:
    """Some blocks as one, by u."""
    labels = np.repeat(
        [classes.index(label) for label, _, _ in blocks], [len(b[1]) for b in blocks]
    )
    u = np.concatenate([places for _, places, _ in blocks])
    order = np.argsort(u, kind="stable")
    x = np.concatenate([x for _, _, x in blocks])[order]
    return labels[order], u[order], x.astype(np.float32, copy=False)


def answers(rows: Array, models: tuple[Array, Array], classes: int) -> Array:
    """The class said for each row [n, d], by all pairs' models, or by those of one-vs-all.

    Args:
        rows: Features, float32.
        models: Weights [m, d], and the numbers of each model's classes [m, 2] (-1: all others).
        classes: How many there are.
    """
    weights, ends = models
    margins = rows @ weights.T
    if (ends[:, 1] < 0).all():
        said: Array = ends[margins.argmax(axis=1), 0]
        return said
    return votes(margins, ends, classes)


def rows_of(confusions: dict[tuple[str, float], Array], seed: int, solver: str) -> list[Row]:
    """Rows of multiclass.parquet."""
    return [
        {
            "method": METHODS[task],
            "share": share,
            "seed": seed,
            "solver": solver,
            **class_figures(confusion),
        }
        for (task, share), confusion in confusions.items()
    ]


def cells_of(
    confusions: dict[tuple[str, float], Array], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of confusion.parquet: how often a class was said for another, zeros left out."""
    return [
        {
            "method": METHODS[task],
            "share": share,
            "label": classes[actual],
            "said": classes[said],
            "n": int(confusion[actual, said]),
        }
        for (task, share), confusion in confusions.items()
        for actual, said in zip(*np.nonzero(confusion))
    ]


# ---- put to use ----------------------------------------------------------------------------------


class Panel(NamedTuple):
    """Models that say a class together.

    Attributes:
        classes: In the order of their names.
        weights: float64 [models, d].
        ends: Numbers of each model's classes, [models, 2]; -1: all others.
    """

    classes: list[str]
    weights: Array
    ends: Array

    @classmethod
    def of(cls, models: Sequence[tuple[Group, Array]]) -> Panel:
        """The panel of these models; every pair must be there, or every class against all.

        Raises:
            JobError: Some are missing.
        """
        pairs = any(group.task == "pairs" for group, _ in models)
        sides = [(g.positive, g.negative) if pairs else (g.positive,) for g, _ in models]
        classes = sorted({name for side in sides for name in side})
        whole = len(classes) * (len(classes) - 1) // 2 if pairs else len(classes)
        if len(models) < max(whole, 1) or len(classes) < 2:
            raise JobError(f"{len(models)} models for {len(classes)} classes are not all there are")
        number = {name: place for place, name in enumerate(classes)}
        ends = [(number[g.positive], number[g.negative] if pairs else -1) for g, _ in models]
        return cls(classes, np.stack([weights for _, weights in models]), np.array(ends))

    def say(self, rows: Array) -> tuple[Array, Array]:
        """Class numbers of rows [n, d], and the margin for it (voting: the mean over its pairs)."""
        said = answers(rows, (self.weights, self.ends), len(self.classes))
        margins = rows @ self.weights.T
        firsts, seconds = (self.ends[:, side] == said[:, None] for side in (0, 1))
        own = (margins * firsts - margins * seconds).sum(axis=1)
        return said, own / (firsts | seconds).sum(axis=1)
