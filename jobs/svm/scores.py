"""Score models on test rows: each binary model, and all models together among all classes.

Among all classes, the largest one-vs-all margin decides, or the votes of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from svm import Array
from svm.dataset import Block, Dataset, TrainingTask

Row = dict[str, Any]
BATCH_ROWS = 1000
# Limit of weights on the driver: half of the default of spark.driver.maxResultSize.
LIMIT_BYTES = 512 << 20
METHODS = {"pairs": "voting", "one-vs-all": "one-vs-all"}


class ModelScores(NamedTuple):
    """Scores of one model on its test rows, and its predictions."""

    # Positive rows, of these correct, negative rows, of these correct.
    counts: tuple[int, int, int, int]
    auc: float | None  # area under the ROC curve; None without rows of both classes
    # Packed bits, 1 for positive, of all rows (also training rows), sorted by label and u.
    predictions: bytes


class TrainedModel(NamedTuple):
    """A trained model."""

    # Float64 [d], or float32 if they are needed for voting only; without intercept. None if they
    # are not requested.
    weights: Array | None
    iterations_run: int | None  # None if unknown
    train_s: float  # seconds; models that were trained together have equal parts
    scores: ModelScores  # scores on the test rows


def score_models(margins: Array, positive: Array, tests: Array) -> list[ModelScores]:
    """Score models on the same rows, which are sorted by label and u.

    Args:
        margins: [models, n]; above 0 predicts positive.
        positive: Whether a row is in the positive class, bool [n].
        tests: Whether a row tests a model, bool [models, n].
    """
    predictions = margins > 0
    counts = np.stack(
        [
            (tests & positive).sum(axis=1),
            (tests & positive & predictions).sum(axis=1),
            (tests & ~positive).sum(axis=1),
            (tests & ~positive & ~predictions).sum(axis=1),
        ],
        axis=1,
    ).tolist()
    bits = np.packbits(predictions, axis=1)
    return [
        ModelScores(
            tuple(counts[m]), roc_auc(margins[m][tests[m]], positive[tests[m]]), bits[m].tobytes()
        )
        for m in range(len(margins))
    ]


def roc_auc(margins: Array, positive: Array) -> float | None:
    """Return the area under the ROC curve; None without rows of both classes.

    By ranks, which is the same as scikit-learn's roc_auc_score and 20 times faster.
    """
    # Imported here: it takes a second, which the driver need not wait for.
    from scipy.stats import rankdata

    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    rank_sum = rankdata(margins)[positive].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def figures(counts: Sequence[int], auc: float | None = None) -> Row:
    """Return accuracy and related figures of a test.

    Args:
        counts: Positive rows, of these correct, negative rows, of these correct.
        auc: Area under the ROC curve.

    Returns:
        n_test, n_correct, accuracy, balanced_accuracy (mean recall; None unless both classes have
        rows), majority_baseline (accuracy of always predicting the larger class), roc_auc, f1 (of
        the positive class: 2 tp / (2 tp + fp + fn)), tp, fn, fp, tn. None without test rows.
    """
    positives, tp, negatives, tn = (int(count) for count in counts)
    n_test, n_correct = positives + negatives, tp + tn
    both = positives and negatives
    errors = n_test - n_correct
    return {
        "n_test": n_test,
        "n_correct": n_correct,
        "accuracy": n_correct / n_test if n_test else None,
        "balanced_accuracy": (tp / positives + tn / negatives) / 2 if both else None,
        "majority_baseline": max(positives, negatives) / n_test if n_test else None,
        "roc_auc": auc,
        "f1": 2 * tp / (2 * tp + errors) if tp + errors else None,
        "tp": tp,
        "fn": positives - tp,
        "fp": negatives - tn,
        "tn": tn,
    }


def best_of(rows: Iterable[Row]) -> Row | None:
    """Return the tested row of highest accuracy, then smallest share; None if none was tested."""
    tested = [row for row in rows if row["accuracy"] is not None]
    return max(tested, key=lambda row: (row["accuracy"], -row["share"]), default=None)


def mean(rows: Iterable[Row], name: str) -> float | None:
    """Return the mean of a column, ignoring None."""
    values = [row[name] for row in rows if row[name] is not None]
    return sum(values) / len(values) if values else None


# ---- all classes ---------------------------------------------------------------------------------


def complete_models(task: str, classes: int) -> int:
    """Return how many models decide among all classes: one for each pair, or for each class."""
    return classes * (classes - 1) // 2 if task == "pairs" else classes


def obstacles(tasks: Sequence[TrainingTask], classes: int, dimension: int) -> dict[str, str]:
    """Return by task why its models cannot classify among all classes; empty if they can."""
    reasons = {}
    for name in METHODS:
        selected = [task for task in tasks if task.pair.task == name]
        models = sum(len(task.shares) for task in selected)
        if not selected:
            continue
        if len(selected) < complete_models(name, classes):
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
        # Weights and class numbers of the models by task and share.
        self._models: dict[tuple[str, float], tuple[Array, list[tuple[int, int]]]] = {}

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
            if key not in self._models:
                size = complete_models(pair.task, len(self._classes))
                self._models[key] = np.empty((size, len(model.weights)), dtype=np.float32), []
            weights, all_sides = self._models[key]
            weights[len(all_sides)] = model.weights
            all_sides.append(sides)

    def confusions(self, data: Dataset) -> dict[tuple[str, float], Array]:
        """Return confusion matrices [actual, predicted] by task and share."""
        models = {
            key: (weights, np.array(sides))
            for key, (weights, sides) in sorted(self._models.items())
            if len(sides) == len(weights)
        }
        if not models:
            return {}
        keys = list(models)
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
            yield _merge_blocks(batch, classes)
            batch = []
    if batch:
        yield _merge_blocks(batch, classes)


def _merge_blocks(blocks: list[Block], classes: Sequence[str]) -> tuple[Array, Array, Array]:
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
    first, second = np.eye(classes, dtype=margins.dtype)[sides.T]
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
            "predicted": classes[predicted],
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
