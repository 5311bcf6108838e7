"""Whether configurations computed the same: the jobs' results, compared before any time.

`result.json` of a job is described in docs/compare.md. Counts, checksums and other numbers must be
equal; accuracies may differ by chance; times, sizes of files and settings are not results.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emrctl.compare.records import Configuration
from emrctl.runs.checksums import WeightedSum
from emrctl.runs.record import CheckedOutput

MAX_VALUES = 2_000
# Scores without counts may differ by this much (above 1: by this share), fractions by this share.
ACCURACY_TOLERANCE = 0.01
FRACTION_TOLERANCE = 1e-6
# p-value below which accuracies differ beyond chance. It is small because a result has many.
ALPHA = 0.01

_CHECKSUM = re.compile(r"checksum|digest|(^|_)(hash|md5|sha\d*|crc\d*)($|_)")
_SCORE = re.compile(
    r"accuracy|precision|recall|(^|_)(f1|auc|r2|rmse|mse|mae|loss|error|score|silhouette)($|_)"
)
# Times, sizes and costs of the run.
_MEASUREMENT = re.compile(
    r"(^|_)(s|ms|ns|us|sec|secs|seconds|minutes|hours|time|times|timing|timings|duration|elapsed"
    r"|latency|runtime|throughput|started|ended|start|end|date|timestamp|created"
    r"|bytes|kb|mb|gb|kib|mib|gib|memory|heap|usd|cost|price)($|_)"
)
_SETTINGS = re.compile(
    r"(^|_)(arguments|args|settings|conf|config|parameters|params|extractor|notes|warnings|log)($|_)"
)
_SETTING = re.compile(
    _SETTINGS.pattern
    + r"|(^|_)(job|seed|version|python|spark|hadoop|java|host|hosts|port|pid|id|ids"
    r"|app|application|user|path|file|url|uri|size|rate|per|share"
    r"|partitions|executors|cores|threads|workers|nodes|tasks|slots|parallelism"
    r"|attempt|attempts|iterations|epochs|run)($|_)"
)
# Outcomes of a model, which vary as its accuracy does.
_OUTCOME_WORDS = (
    *("n_correct", "correct", "tp", "fp", "tn", "fn", "said"),
    *("predicted", "confusion", "best"),
)
_OUTCOME = re.compile(rf"(^|_)({'|'.join(_OUTCOME_WORDS)})($|_)")
_CORRECT = ("n_correct", "correct")
_TOTAL = ("n_test", "n_known", "n_total", "total", "n")

Value = int | float | str | bool | WeightedSum


@dataclass(frozen=True)
class Accuracy:
    """A share of correct rows; `by_row` says for each row whether it is correct, if known."""

    share: float
    count: int | None = None
    by_row: tuple[bool, ...] | None = None


@dataclass(frozen=True)
class AccuracyRow:
    """An accuracy of a configuration against that of the reference.

    `low` to `high` is the 95 % interval of the difference, `needed` the test rows with which a
    difference of this size shows. `test` is "z-test", "McNemar", or "" without counts.
    """

    name: str
    configuration: str
    reference: float
    value: float
    test: str = ""
    z: float | None = None
    p_value: float | None = None
    low: float | None = None
    high: float | None = None
    needed: int | None = None

    @property
    def differs(self) -> bool:
        """Whether the difference is beyond chance, or beyond the tolerance without counts."""
        if self.p_value is None:
            scale = max(1.0, abs(self.reference))
            return abs(self.value - self.reference) > ACCURACY_TOLERANCE * scale
        return self.p_value < ALPHA

    def __str__(self) -> str:
        """Return the difference in words."""
        text = f"{self.name} {self.value:.4g} against {self.reference:.4g}"
        return text if self.p_value is None else f"{text} ({self.test}: p = {self.p_value:.3g})"


@dataclass(frozen=True)
class ResultCheck:
    """How the results of a configuration compare with those of the reference.

    `differences` are sentences; `compared` counts the values that both report.
    """

    differences: tuple[str, ...] = ()
    accuracies: tuple[AccuracyRow, ...] = ()
    compared: int = 0


def check(reference: Configuration, other: Configuration) -> ResultCheck:
    """Compare the results of completed runs.

    A value that differs between repeats of `other` itself is reported as such.
    """
    first, second = _values(reference), _values(other)
    own = [
        f"{name} differs between repeats: {_listed(values)}"
        for name, values in second.items()
        if not isinstance(values[0], Accuracy) and not _agree(values)
    ]
    if reference is other:
        return ResultCheck(tuple(own), compared=len(second))
    rows, differences = [], []
    shared = [name for name in second if name in first]
    for name in shared:
        one, two = first[name][0], second[name][0]
        if isinstance(one, Accuracy) and isinstance(two, Accuracy):
            rows.append(_accuracy_row(name, other.label, one, two))
        elif not _agree([*first[name], *second[name]]) and _agree(second[name]):
            texts = _listed(second[name]), _listed(first[name])
            differences.append(f"{name} {texts[0]} against {texts[1]}")
    differences += [str(row) for row in rows if row.differs]
    return ResultCheck((*differences, *own), tuple(rows), len(shared))


def _values(configuration: Configuration) -> dict[str, list[Value | Accuracy]]:
    """Return each value of the results by its dotted name, once per run that has it."""
    values: dict[str, list[Value | Accuracy]] = {}
    for record in configuration.completed_records:
        for name, value in itertools.chain(outputs(record.output), _leaves(record.result or {})):
            values.setdefault(name, []).append(value)
            if len(values) >= MAX_VALUES:
                break
    return values


def outputs(found: Mapping[str, CheckedOutput]) -> Iterator[tuple[str, Value]]:
    """Yield rows, checksum and sums of data sets, by the names of columns, whatever these are.

    Checksums of different methods are not compared: their names differ.
    """
    for uri, item in found.items():
        yield f"rows of {uri}", item.rows
        yield f"checksum of {uri} ({item.method})", item.checksum
        for column, value in item.sums.items():
            yield f"column '{column}' of {uri} ({item.method})", value


def _leaves(document: Any, prefix: str = "") -> Iterator[tuple[str, Value | Accuracy]]:
    if isinstance(document, Mapping):
        items: Sequence[tuple[str, Any]] = list(document.items())
    elif isinstance(document, list):
        items = [(str(n), value) for n, value in enumerate(document)]
    else:
        return
    for key, value in items:
        name = f"{prefix}{key}"
        word = str(key).lower()
        is_size_of_test = word in _TOTAL and "accuracy" in document
        if is_size_of_test or _MEASUREMENT.search(word) or _OUTCOME.search(word):
            continue
        if isinstance(value, Mapping | list):
            if not _SETTINGS.search(word):
                yield from _leaves(value, f"{name}.")
        elif _is_number(value) and _SCORE.search(word):
            yield name, _accuracy(document, word, float(value))
        elif not _SETTING.search(word) and (_is_number(value) or _is_checksum(word, value)):
            yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_checksum(word: str, value: Any) -> bool:
    return isinstance(value, str) and _CHECKSUM.search(word) is not None


def _accuracy(document: Any, word: str, share: float) -> Accuracy:
    """Return an accuracy, with its counts if they are beside it in the same object."""
    if word != "accuracy" or not isinstance(document, Mapping) or not 0 <= share <= 1:
        return Accuracy(share)
    rows = document.get("correct_by_row")
    if isinstance(rows, list) and rows and all(row in {0, 1} for row in rows):
        return Accuracy(share, len(rows), tuple(bool(row) for row in rows))
    correct = next((document[key] for key in _CORRECT if key in document), None)
    totals = [document[key] for key in _TOTAL if isinstance(document.get(key), int)]
    # Only a total that explains the accuracy is its total.
    counts = [
        total
        for total in totals
        if isinstance(correct, int) and total > 0 and abs(correct / total - share) < 1e-3
    ]
    return Accuracy(share, counts[0] if counts else None)


def _accuracy_row(name: str, configuration: str, one: Accuracy, two: Accuracy) -> AccuracyRow:
    from emrctl.compare.proportions import mcnemar, sample_size, two_proportions

    if one.count is None or two.count is None:
        return AccuracyRow(name, configuration, one.share, two.share)
    result = two_proportions(one.share, one.count, two.share, two.count)
    test, p_value = "z-test", result.p_value
    if one.by_row and two.by_row and len(one.by_row) == len(two.by_row):
        pairs = list(zip(one.by_row, two.by_row, strict=True))
        test, p_value = "McNemar", mcnemar(pairs.count((True, False)), pairs.count((False, True)))
    return AccuracyRow(
        name=name,
        configuration=configuration,
        reference=one.share,
        value=two.share,
        test=test,
        z=result.z,
        p_value=p_value,
        low=result.low,
        high=result.high,
        needed=sample_size(one.share, two.share),
    )


def _agree(values: Sequence[Value | Accuracy]) -> bool:
    """Return whether values are equal, or fractions equal but for the order of their sums."""
    first = values[0]
    return all(value == first or _close(first, value) for value in values[1:])


def _close(one: Value | Accuracy, two: Value | Accuracy) -> bool:
    if isinstance(one, WeightedSum) and isinstance(two, WeightedSum):
        return one.agrees(two)
    if not isinstance(one, int | float) or not isinstance(two, int | float):
        return False
    is_fraction = float in {type(one), type(two)}
    return is_fraction and math.isclose(one, two, rel_tol=FRACTION_TOLERANCE)


def _listed(values: Sequence[Value | Accuracy]) -> str:
    distinct = list(dict.fromkeys(str(value) for value in values))
    return ", ".join(distinct[:3]) + (", …" if len(distinct) > 3 else "")
