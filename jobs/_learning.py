"""What the SVM study is made of, whatever solves it: classes and splits, data in blocks, scores.

A block is (label, u, x): the rows of one class in one partition, u their position in the split
(float64 [k]) and x their features (float32 or float64 [k, d]). Rows go to partitions by the hash of
their path and are ordered by path in a block, so that the same data give the same sums, bit by bit,
however many files they came in and in whatever order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, Callable, NamedTuple
from urllib.parse import quote

import numpy as np
from pyspark import StorageLevel
from pyspark.sql import DataFrame

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
Block = tuple[str, Array, Array]
ALL = "all"
BLOCKS = "label string, u array<double>, width int, x binary, bad string"


# ---- what is to be learnt ------------------------------------------------------------------------


class Group(NamedTuple):
    """Models that differ in their training share alone. `negative` is `all` for one-vs-all."""

    task: str
    positive: str
    negative: str

    def holds(self, label: str) -> bool:
        """Whether rows of this class take part."""
        return self.task == "one-vs-all" or label in (self.positive, self.negative)

    @property
    def folder(self) -> str:
        """Folder of the models, below models/."""
        negative = ALL if self.task == "one-vs-all" else file_name(self.negative)
        return f"{file_name(self.positive)}_VS_{negative}"

    def __str__(self) -> str:
        return f"{self.positive} VS {self.negative}"


def file_name(label: str) -> str:
    """A class's name as a part of a path.

    What Hadoop or S3 would misread becomes %XX, and so does what would be read as another pair.
    """
    if label == ALL:
        return "%61ll"  # `a_VS_all` is one-vs-all's
    safe = quote(label, safe=" ,;=@+()").replace("_VS_", "_%56S_")
    return "%" + f"{ord(safe[0]):02X}{safe[1:]}" if safe[0] in "._" else safe


def groups(classes: Sequence[str], task: str, one: str | None = None) -> list[Group]:
    """All models asked for, in the order of the classes' names.

    Args:
        classes: The classes that take part.
        task: `pairs`, `one-vs-all` or `both`.
        one: This class against each other one, and against all others, only.
    """
    ordered = sorted(classes)
    pairs = list(combinations(ordered, 2))
    ones = ordered
    if one is not None:
        pairs, ones = [(one, other) for other in ordered if other != one], [one]
    made = [Group("pairs", *pair) for pair in pairs] if task in ("pairs", "both") else []
    return made + [Group("one-vs-all", name, ALL) for name in ones if task != "pairs"]


# ---- splits --------------------------------------------------------------------------------------


def positions(label: str, paths: Sequence[str], seed: int) -> dict[str, float]:
    """Where each row of one class stands in the split: it trains when u < share.

    u = (rank + 0.5) / n, the rank that of BLAKE2b(seed, label, path) among the class's n rows. So
    splits are nested, each class gives the same share, and neither the order of the rows nor the
    other classes change anything.
    """

    def key(path: str) -> bytes:
        return hashlib.blake2b(f"{seed}\0{label}\0{path}".encode(), digest_size=16).digest()

    return {path: (rank + 0.5) / len(paths) for rank, path in enumerate(sorted(paths, key=key))}


class Splits(NamedTuple):
    """u by class and path, for one seed."""

    seed: int
    u: dict[str, dict[str, float]]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str]], seed: int) -> Splits:
        """Splits of (path, label) rows."""
        paths: dict[str, list[str]] = {}
        for path, label in rows:
            paths.setdefault(label, []).append(path)
        return cls(seed, {name: positions(name, paths[name], seed) for name in sorted(paths)})

    def rows(self) -> list[tuple[str, str, int, float]]:
        """Rows of splits.parquet: path, label, seed, u."""
        return [
            (path, label, self.seed, u)
            for label, by_path in self.u.items()
            for path, u in sorted(by_path.items())
        ]

    def sizes(self, group: Group, share: float) -> tuple[int, int, int, int]:
        """Rows that train (positive, negative), rows that test (positive, negative)."""
        train, test = [0, 0], [0, 0]
        for label, by_path in self.u.items():
            if group.holds(label):
                trains = sum(u < share for u in by_path.values())
                train[label != group.positive] += trains
                test[label != group.positive] += len(by_path) - trains
        return train[0], train[1], test[0], test[1]


# ---- data ----------------------------------------------------------------------------------------


def to_blocks(u: Any, double: bool) -> Callable[[Any], Iterator[pd.DataFrame]]:
    """For mapInPandas: rows (path, label, features) to blocks.

    Args:
        u: Broadcast of the splits' u by class and path.
        double: Keep float64; else float32, which is what Parquet features mostly are.

    A row without features, or with NaN or infinity in them, is named in `bad`: raising here would
    show the user a failed task instead.
    """

    def made(tables: Any) -> Iterator[pd.DataFrame]:
        for table in tables:
            rows: dict[tuple[str, int], list[tuple[str, Any]]] = {}
            for path, label, features in table.itertuples(index=False, name=None):
                width = 0 if features is None else len(features)
                rows.setdefault((label, width), []).append((path, features))
            for (label, width), members in sorted(rows.items()):
                yield block(label, width, sorted(members, key=lambda member: member[0]))

    def block(label: str, width: int, members: list[tuple[str, Any]]) -> pd.DataFrame:
        import pandas as pd

        kind = np.float64 if double else np.float32
        x = np.array([row for _, row in members], dtype=kind) if width else np.empty((0, 0), kind)
        wrong = ~np.isfinite(x).all(axis=1) if width else np.ones(len(members), dtype=bool)
        bad = members[int(wrong.argmax())][0] if wrong.any() else None
        known = u.value[label]
        places = np.array([known[path] for path, _ in members])
        columns = {"label": label, "u": [places], "width": width, "x": [x.tobytes()], "bad": bad}
        return pd.DataFrame(columns)

    return made


def from_row(double: bool) -> Callable[[Any], tuple[Block, str | None]]:
    """A row of BLOCKS as a block, and the path of a bad row in it."""
    kind = np.float64 if double else np.float32

    def made(row: Any) -> tuple[Block, str | None]:
        x = np.frombuffer(bytes(row["x"]), dtype=kind)
        places = np.array(row["u"])
        return (row["label"], places, x.reshape(-1, row["width"] or 1)), row["bad"]

    return made


@dataclass
class Data:
    """Blocks on the executors, persisted, and what the driver knows of them."""

    blocks: Any
    splits: Splits
    dimension: int
    _cut: tuple[Group, Any] | None = field(default=None, repr=False)

    def of(self, group: Group) -> Any:
        """Persisted RDD of the group's blocks; the one handed out before is let go."""
        if self._cut and self._cut[0] == group:
            return self._cut[1]
        self.release()
        if all(group.holds(label) for label in self.splits.u):
            return self.blocks
        cut = self.blocks.filter(lambda block: group.holds(block[0]))
        self._cut = (group, cut.persist(StorageLevel.MEMORY_AND_DISK))
        return self._cut[1]

    def release(self) -> None:
        """Let go of the last group's rows."""
        if self._cut:
            self._cut[1].unpersist()
            self._cut = None


def load(frame: DataFrame, splits: Splits, partitions: int) -> tuple[Data, list[str]]:
    """Read the features once, into persisted blocks.

    Args:
        frame: path, label, features (array of float or double), of the asked classes only.
        splits: Where each of its rows stands.
        partitions: Of the blocks, whatever the files were.

    Returns:
        The data, and sentences on what is wrong with them (none when all is well).
    """
    double = "array<double>" in dict(frame.dtypes)["features"]
    u = frame.sparkSession.sparkContext.broadcast(splits.u)
    spread = frame.select("path", "label", "features").repartition(partitions, "path")
    rows = spread.mapInPandas(to_blocks(u, double), BLOCKS).rdd.map(from_row(double))
    kept = rows.persist(StorageLevel.MEMORY_AND_DISK)
    # One job reads everything: it fills the cache and tells the widths and the bad rows.
    seen = kept.map(lambda row: (row[0][2].shape[1], row[0][0], row[1])).collect()
    bad = sorted(path for _, _, path in seen if path)
    widths = {width: label for width, label, _ in seen}
    problems = [f"{path}: no features, or NaN or infinity in them" for path in bad[:1]]
    if len(widths) > 1 and not bad:
        told = ", ".join(f"{width} (in {label})" for width, label in sorted(widths.items()))
        problems.append(f"features of different lengths: {told}")
    return Data(kept.map(lambda row: row[0]), splits, max(widths, default=0)), problems


# ---- scores --------------------------------------------------------------------------------------


def score(blocks: Any, group: Group, shares: Sequence[float], weights: Array) -> Array:
    """Count right answers on the rows that did not train, one pass for all shares.

    Args:
        blocks: RDD of the group's blocks.
        group: Which class is positive.
        shares: Training shares, [s].
        weights: A column for each share, float64 [d, s]. A margin above 0 says positive.

    Returns:
        int64 [s, 4]: positives, those found, negatives, those found.
    """
    carried = blocks.context.broadcast(weights)
    limits, positive = np.asarray(shares), group.positive

    def counted(rows: Iterable[Block]) -> Iterator[Array]:
        total = np.zeros((len(limits), 4), dtype=np.int64)
        for label, u, x in rows:
            tests = u[:, None] >= limits
            says = x.astype(np.float64) @ carried.value > 0
            column = 0 if label == positive else 2
            right = says if label == positive else ~says
            total[:, column] += tests.sum(axis=0)
            total[:, column + 1] += (tests & right).sum(axis=0)
        yield total

    counts: Array = blocks.mapPartitions(counted).reduce(lambda left, right: left + right)
    carried.unpersist()
    return counts


def figures(counts: Sequence[int]) -> dict[str, Any]:
    """Accuracy, balanced accuracy and the majority baseline of one test.

    Args:
        counts: positives, those found, negatives, those found.

    Returns:
        n_test, n_correct, accuracy, balanced_accuracy (the mean of both classes' recalls; None when
        one class has no rows), majority_baseline (always saying the larger class). None: no test.
    """
    positives, hits, negatives, passes = (int(count) for count in counts)
    n_test, n_correct = positives + negatives, hits + passes
    both = positives and negatives
    return {
        "n_test": n_test,
        "n_correct": n_correct,
        "accuracy": n_correct / n_test if n_test else None,
        "balanced_accuracy": (hits / positives + passes / negatives) / 2 if both else None,
        "majority_baseline": max(positives, negatives) / n_test if n_test else None,
    }
