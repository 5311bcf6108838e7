"""Classify among all classes: by the largest one-vs-all margin, or by the votes of all pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from common.job import JobError
from svm import Array
from svm.dataset import Block, Dataset
from svm.scores import Row
from svm.solvers import TrainedModel
from svm.splits import ClassPair, TrainingTask

BATCH_ROWS = 1000
# Limit of weights on the driver: half of the default of spark.driver.maxResultSize.
LIMIT_BYTES = 512 << 20
METHODS = {"pairs": "voting", "one-vs-all": "one-vs-all"}


def obstacles(tasks: Sequence[TrainingTask], classes: int, dimension: int) -> dict[str, str]:
    """Return by task why its models cannot classify among all classes; empty if they can."""
    reasons = {}
    for name, complete in (("pairs", classes * (classes - 1) // 2), ("one-vs-all", classes)):
        selected = [task for task in tasks if task.pair.task == name]
        models = sum(len(task.shares) for task in selected)
        if not selected:
            continue
        if len(selected) < complete:
            reasons[name] = "not all models of all classes are trained"
        elif models * dimension * 4 > LIMIT_BYTES:
            size = models * dimension * 4 >> 20
            reasons[name] = f"the weights of {models} models take {size} MB on the driver"
        else:
            reasons[name] = ""
    return reasons


class MulticlassScorer:
    """Collects weights by task and share, then tests all of them in one pass over the rows."""

    def __init__(self, classes: Sequence[str], tasks: Iterable[str]) -> None:
        self._classes = list(classes)
        self.tasks = set(tasks)
        self._complete = {"pairs": len(classes) * (len(classes) - 1) // 2}
        self._weights: dict[tuple[str, float], Array] = {}
        self._sides: dict[tuple[str, float], list[tuple[int, int]]] = {}

    def add(self, task: TrainingTask, models: Sequence[TrainedModel]) -> None:
        """Add the models of a task, in float32."""
        pair = task.pair
        if pair.task not in self.tasks:
            return
        number = {label: index for index, label in enumerate(self._classes)}
        sides = number[pair.positive], number.get(pair.negative, -1)
        for share, model in zip(task.shares, models):
            if model.weights is None:
                continue
            key = (pair.task, share)
            if key not in self._weights:
                size = self._complete.get(pair.task, len(self._classes))
                self._weights[key] = np.empty((size, len(model.weights)), dtype=np.float32)
                self._sides[key] = []
            self._weights[key][len(self._sides[key])] = model.weights
            self._sides[key].append(sides)

    def confusions(self, data: Dataset) -> dict[tuple[str, float], Array]:
        """Return confusion matrices [actual, predicted] by task and share."""
        keys = [
            key
            for key, models in sorted(self._weights.items())
            if len(self._sides[key]) == len(models)
        ]
        if not keys:
            return {}
        models = {key: (self._weights[key], np.array(self._sides[key])) for key in keys}
        shared = data.blocks.context.broadcast(models)
        classes = self._classes

        def count(blocks: Iterable[Block]) -> Iterator[Array]:
            total = np.zeros((len(keys), len(classes), len(classes)), dtype=np.int64)
            for actual, u, x in row_batches(blocks, classes):
                for index, key in enumerate(keys):
                    first = int(np.searchsorted(u, key[1]))
                    predicted = predict(x[first:], shared.value[key], len(classes))
                    np.add.at(total[index], (actual[first:], predicted), 1)
            yield total

        totals = data.blocks.mapPartitions(count).reduce(np.add)
        shared.destroy()
        return dict(zip(keys, totals))


def row_batches(
    blocks: Iterable[Block], classes: Sequence[str]
) -> Iterator[tuple[Array, Array, Array]]:
    """Return class numbers, u and x (float32) of about BATCH_ROWS rows at a time, sorted by u.

    Blocks have few rows, with which a product with all weights is many times slower.
    """
    batch: list[Block] = []
    for block in blocks:
        batch.append(block)
        if sum(len(u) for _, u, _ in batch) >= BATCH_ROWS:
            yield merge_blocks(batch, classes)
            batch = []
    if batch:
        yield merge_blocks(batch, classes)


def merge_blocks(blocks: list[Block], classes: Sequence[str]) -> tuple[Array, Array, Array]:
    """Return class numbers, u and x of several blocks, sorted by u."""
    labels = np.repeat(
        [classes.index(label) for label, _, _ in blocks], [len(u) for _, u, _ in blocks]
    )
    u = np.concatenate([u for _, u, _ in blocks])
    order = np.argsort(u, kind="stable")
    x = np.concatenate([x for _, _, x in blocks])[order]
    return labels[order], u[order], x.astype(np.float32, copy=False)


def predict(rows: Array, models: tuple[Array, Array], classes: int) -> Array:
    """Return class numbers of rows [n, d], by all pairs or by one-vs-all.

    `models` are weights [m, d], and the class numbers of each model [m, 2] (-1: all others).
    """
    weights, sides = models
    margins = rows @ weights.T
    if (sides[:, 1] < 0).all():
        predicted: Array = sides[margins.argmax(axis=1), 0]
        return predicted
    return vote(margins, sides, classes)


def vote(margins: Array, sides: Array, classes: int) -> Array:
    """Return the class with most votes of the pairwise models; ties are broken by the margins.

    As scikit-learn's `_ovr_decision_function`: votes plus s / (3 * (|s| + 1)), which is below half
    a vote, where s is the sum of the margins for a class.

    Args:
        margins: [n, pairs]; above 0 is a vote for the first class of the pair.
        sides: Numbers of the first and the second class of each pair, int [pairs, 2].
        classes: Number of classes.
    """
    first = np.zeros((len(sides), classes), dtype=margins.dtype)
    first[np.arange(len(sides)), sides[:, 0]] = 1
    second = np.zeros_like(first)
    second[np.arange(len(sides)), sides[:, 1]] = 1
    positive = (margins > 0).astype(margins.dtype)
    confidence = margins @ (first - second)
    votes = positive @ first + (1 - positive) @ second
    votes = votes + confidence / (3 * (np.abs(confidence) + 1))
    chosen: Array = votes.argmax(axis=1)
    return chosen


# ---- results -------------------------------------------------------------------------------------


def multiclass_rows(
    confusions: dict[tuple[str, float], Array], seed: int, solver: str
) -> list[Row]:
    """Return the rows of multiclass.parquet. Shares without test rows are left out."""
    rows = [
        {
            "method": METHODS[task],
            "share": share,
            "seed": seed,
            "solver": solver,
            **confusion_figures(confusion),
        }
        for (task, share), confusion in confusions.items()
    ]
    return [row for row in rows if row["accuracy"] is not None]


def confusion_rows(confusions: dict[tuple[str, float], Array], classes: Sequence[str]) -> list[Row]:
    """Return the rows of confusion.parquet: counts above zero by actual and predicted class."""
    return [
        {
            "method": METHODS[task],
            "share": share,
            "label": classes[actual],
            "said": classes[predicted],
            "n": int(confusion[actual, predicted]),
        }
        for (task, share), confusion in confusions.items()
        for actual, predicted in zip(*np.nonzero(confusion))
    ]


def confusion_figures(confusion: Array) -> Row:
    """Return figures of a confusion matrix, int64 [actual, predicted].

    Returns:
        n_test, n_correct, accuracy, balanced_accuracy (mean recall of the classes with rows),
        macro_f1 (mean F1 of the same classes), majority_baseline.
    """
    actual = confusion.sum(axis=1)
    predicted, correct, n_test = confusion.sum(axis=0), np.diag(confusion), int(actual.sum())
    tested = actual > 0
    f1 = 2 * correct[tested] / np.maximum(actual + predicted, 1)[tested]
    return {
        "n_test": n_test,
        "n_correct": int(correct.sum()),
        "accuracy": float(correct.sum() / n_test) if n_test else None,
        "balanced_accuracy": float((correct[tested] / actual[tested]).mean()) if n_test else None,
        "macro_f1": float(f1.mean()) if n_test else None,
        "majority_baseline": float(actual.max() / n_test) if n_test else None,
    }


# ---- classifying pictures ------------------------------------------------------------------------


class MulticlassModel(NamedTuple):
    """Binary models that together classify among all classes."""

    classes: list[str]  # sorted class names
    weights: Array  # float64 [models, d]
    sides: Array  # class numbers of each model, [models, 2]; -1: all others

    @classmethod
    def of(cls, models: Sequence[tuple[ClassPair, Array]]) -> MulticlassModel:
        """Combine the models of all pairs, or of each class against all others.

        Raises:
            JobError: Some models are missing.
        """
        pairwise = any(pair.task == "pairs" for pair, _ in models)
        names = [
            (pair.positive, pair.negative) if pairwise else (pair.positive,) for pair, _ in models
        ]
        classes = sorted({name for pair in names for name in pair})
        complete = len(classes) * (len(classes) - 1) // 2 if pairwise else len(classes)
        if len(models) < max(complete, 1) or len(classes) < 2:
            raise JobError(
                f"{len(models)} models for {len(classes)} classes: {max(complete, 1)} are needed"
            )
        number = {name: index for index, name in enumerate(classes)}
        sides = [
            (number[pair.positive], number[pair.negative] if pairwise else -1) for pair, _ in models
        ]
        return cls(classes, np.stack([weights for _, weights in models]), np.array(sides))

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Return class numbers of rows [n, d], and their margins (voting: the mean over pairs)."""
        predicted = predict(rows, (self.weights, self.sides), len(self.classes))
        margins = rows @ self.weights.T
        first, second = (self.sides[:, side] == predicted[:, None] for side in (0, 1))
        own = (margins * first - margins * second).sum(axis=1)
        return predicted, own / (first | second).sum(axis=1)
