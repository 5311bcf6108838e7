"""What a model's answers are worth: counts, ROC AUC, majority baseline, McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Row = dict[str, Any]


class Scores(NamedTuple):
    """The answers of one model on the rows that did not train it.

    Attributes:
        counts: positives, those found, negatives, those found.
        auc: Chance that a positive's margin is above a negative's; None without both.
        says: Which of all rows (training ones too, by label and u) it calls positive: packed bits.
    """

    counts: tuple[int, int, int, int]
    auc: float | None
    says: bytes


def scores_of(margins: Array, positive: Array, tests: Array) -> list[Scores]:
    """Scores of models over the same rows, which are in the order of label and u.

    Args:
        margins: [models, n]; above 0 says positive.
        positive: Whether a row is of the positive class, bool [n].
        tests: Whether a row tests a model, bool [models, n].
    """
    says = margins > 0
    counts = np.stack(
        [
            (tests & positive).sum(axis=1),
            (tests & positive & says).sum(axis=1),
            (tests & ~positive).sum(axis=1),
            (tests & ~positive & ~says).sum(axis=1),
        ],
        axis=1,
    ).tolist()
    bits = np.packbits(says, axis=1)
    return [
        Scores(tuple(counts[m]), auc(margins[m][tests[m]], positive[tests[m]]), bits[m].tobytes())
        for m in range(len(margins))
    ]


def auc(margins: Array, positive: Array) -> float | None:
    """Area under the ROC curve, by ranks (Mann and Whitney's U over all pairs); ties count half."""
    ones = int(positive.sum())
    others = len(positive) - ones
    if not ones or not others:
        return None
    values, place, count = np.unique(margins, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2  # mean rank, from 1, of each value's rows
    above = middle[place][positive].sum() - ones * (ones + 1) / 2
    return float(above / (ones * others)) if len(values) > 1 else 0.5


def figures(counts: Sequence[int], area: float | None = None) -> Row:
    """Accuracy and what keeps it honest.

    Args:
        counts: positives, those found, negatives, those found.
        area: Under the ROC curve.

    Returns:
        n_test, n_correct, accuracy, balanced_accuracy (the mean of both classes' recalls; None when
        one class has no rows), majority_baseline (always saying the larger class), roc_auc, f1 (of
        the positive class: 2 tp / (2 tp + fp + fn)), tp, fn, fp, tn. None: no test.
    """
    positives, hits, negatives, passes = (int(count) for count in counts)
    n_test, n_correct = positives + negatives, hits + passes
    both = positives and negatives
    wrong = n_test - n_correct
    return {
        "n_test": n_test,
        "n_correct": n_correct,
        "accuracy": n_correct / n_test if n_test else None,
        "balanced_accuracy": (hits / positives + passes / negatives) / 2 if both else None,
        "majority_baseline": max(positives, negatives) / n_test if n_test else None,
        "roc_auc": area,
        "f1": 2 * hits / (2 * hits + wrong) if hits + wrong else None,
        "tp": hits,
        "fn": positives - hits,
        "fp": negatives - passes,
        "tn": passes,
    }


def best_of(rows: Iterable[Row]) -> Row | None:
    """The row of highest accuracy, of equals the one with least data; None: nothing was tested."""
    tested = [row for row in rows if row["accuracy"] is not None]
    return max(tested, key=lambda row: (row["accuracy"], -row["share"]), default=None)


def mean(rows: Iterable[Row], name: str) -> float | None:
    """Mean of a column over the rows that have it."""
    values = [row[name] for row in rows if row[name] is not None]
    return sum(values) / len(values) if values else None


# ---- all classes at once -------------------------------------------------------------------------


def class_figures(confusion: Array) -> Row:
    """Figures of a confusion matrix, int64 [classes that are, classes said].

    Returns:
        n_test, n_correct, accuracy, balanced_accuracy (mean recall of the classes that have rows),
        macro_f1 (mean F1 of the same), majority_baseline.
    """
    there = confusion.sum(axis=1)
    said, right, n_test = confusion.sum(axis=0), np.diag(confusion), int(there.sum())
    seen = there > 0
    f1 = 2 * right[seen] / np.maximum(there + said, 1)[seen]
    return {
        "n_test": n_test,
        "n_correct": int(right.sum()),
        "accuracy": float(right.sum() / n_test) if n_test else None,
        "balanced_accuracy": float((right[seen] / there[seen]).mean()) if n_test else None,
        "macro_f1": float(f1.mean()) if n_test else None,
        "majority_baseline": float(there.max() / n_test) if n_test else None,
    }


def votes(margins: Array, ends: Array, classes: int) -> Array:
    """The class that most pairwise models vote for, ties broken by how sure they are.

    As scikit-learn's `_ovr_decision_function` has it: votes plus s / (3 * (|s| + 1)), s the sum of
    the margins for a class, which is below half a vote.

    Args:
        margins: [n, pairs]; above 0 votes for the first class of the pair.
        ends: Numbers of the first and the second class of each pair, int [pairs, 2].
        classes: How many there are.

    Returns:
        Class numbers, int [n].
    """
    first = np.zeros((len(ends), classes), dtype=margins.dtype)
    first[np.arange(len(ends)), ends[:, 0]] = 1
    second = np.zeros_like(first)
    second[np.arange(len(ends)), ends[:, 1]] = 1
    says = (margins > 0).astype(margins.dtype)
    sure = margins @ (first - second)
    tally = says @ first + (1 - says) @ second + sure / (3 * (np.abs(sure) + 1))
    chosen: Array = tally.argmax(axis=1)
    return chosen


# ---- two solvers on the same rows ----------------------------------------------------------------


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test: that which of two models errs alone is a fair coin.

    Args:
        only_first: Rows that the first alone has right.
        only_second: Rows that the second alone has right.
    """
    n, few = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    # In logarithms: binomial numbers of thousands are beyond a float.
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        for k in range(few + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logs))
