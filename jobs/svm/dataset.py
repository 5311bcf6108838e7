"""Rows of features: which models they train and test, and blocks of them on the executors.

A block is (label, u, x): the rows of one class in one partition, with their positions u in the
split (float64 [k]) and their features x (float32 or float64 [k, d]), sorted by path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import quote

import numpy as np
from pyspark import StorageLevel

from svm import Array
from svm.feature_files import FeatureSource

ALL = "all"
Block = tuple[str, Array, Array]


class ClassPair(NamedTuple):
    """The classes of models that differ in their training share only.

    `negative` is `all` for one-vs-all.
    """

    task: str
    positive: str
    negative: str

    def includes(self, label: str) -> bool:
        """Return whether rows of a class are used."""
        return self.task == "one-vs-all" or label in (self.positive, self.negative)

    @property
    def folder(self) -> str:
        """Folder of the models, below models/."""
        negative = ALL if self.task == "one-vs-all" else path_segment(self.negative)
        return f"{path_segment(self.positive)}_VS_{negative}"

    def __str__(self) -> str:
        return f"{self.positive} VS {self.negative}"


class TrainingTask(NamedTuple):
    """A class pair, and the shares at which both of its classes have rows to train on."""

    pair: ClassPair
    shares: tuple[float, ...]


def path_segment(label: str) -> str:
    """Return a class name as part of a path.

    Characters with a meaning for Hadoop or S3, and names that would be ambiguous in the folder of a
    pair, are percent-encoded.
    """
    if label == ALL:
        return "%61ll"  # `a_VS_all` is a one-vs-all model
    safe = quote(label, safe=" ,;=@+()").replace("_VS_", "_%56S_")
    return "%" + f"{ord(safe[0]):02X}{safe[1:]}" if safe[0] in "._" else safe


def class_pairs(classes: Sequence[str], task: str, one: str | None = None) -> list[ClassPair]:
    """Return the class pairs of a task (`pairs`, `one-vs-all` or `both`), sorted by class.

    With `one`, only the pairs of this class.
    """
    ordered = sorted(classes)
    pairs = list(combinations(ordered, 2))
    ones = ordered
    if one is not None:
        pairs, ones = [(one, other) for other in ordered if other != one], [one]
    selected = [ClassPair("pairs", *pair) for pair in pairs] if task in ("pairs", "both") else []
    return selected + [ClassPair("one-vs-all", name, ALL) for name in ones if task != "pairs"]


def positions(label: str, paths: Sequence[str], seed: int) -> dict[str, float]:
    """Return the position u of each row of one class in the split; it trains if u < share.

    u = (rank + 0.5) / n with the rank of BLAKE2b(seed, label, path) among the n rows of the class.
    So splits are nested, each class has the same share, and u depends neither on the order of the
    rows nor on the other classes.
    """

    def key(path: str) -> bytes:
        return hashlib.blake2b(f"{seed}\0{label}\0{path}".encode(), digest_size=16).digest()

    return {path: (rank + 0.5) / len(paths) for rank, path in enumerate(sorted(paths, key=key))}


class TrainTestSplits(NamedTuple):
    """Positions u by class and path, for one seed."""

    seed: int
    u: dict[str, dict[str, float]]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str]], seed: int) -> TrainTestSplits:
        """Split rows (path, label)."""
        paths: dict[str, list[str]] = {}
        for path, label in rows:
            paths.setdefault(label, []).append(path)
        return cls(seed, {name: positions(name, paths[name], seed) for name in sorted(paths)})

    def rows(self) -> list[tuple[str, str, int, float]]:
        """Return the rows of splits.parquet: path, label, seed, u."""
        return [
            (path, label, self.seed, u)
            for label, by_path in self.u.items()
            for path, u in sorted(by_path.items())
        ]

    def pair_rows(self, pair: ClassPair) -> list[tuple[str, str, float]]:
        """Return (path, label, u) of the rows of a pair, in the order of its predictions."""
        return [
            (path, label, u)
            for label in sorted(filter(pair.includes, self.u))
            for path, u in sorted(self.u[label].items(), key=lambda item: item[1])
        ]

    def sizes(self, pair: ClassPair, share: float) -> tuple[int, int, int, int]:
        """Count training rows (positive, negative) and test rows (positive, negative)."""
        train, test = [0, 0], [0, 0]
        for label, by_path in self.u.items():
            if pair.includes(label):
                trains = sum(u < share for u in by_path.values())
                train[label != pair.positive] += trains
                test[label != pair.positive] += len(by_path) - trains
        return train[0], train[1], test[0], test[1]


# ---- blocks --------------------------------------------------------------------------------------


@dataclass
class Dataset:
    """Persisted blocks, and their properties."""

    blocks: Any
    splits: TrainTestSplits
    dimension: int
    factors: Array | None = None  # by which the columns were multiplied, [d]
    extractor: dict[str, Any] | None = None  # settings of the feature extractor, if known
    pictures: str | None = None  # folder of the pictures, if known
    _subset: tuple[ClassPair, Any] | None = field(default=None, repr=False)

    def blocks_of(self, pair: ClassPair) -> Any:
        """Return a persisted RDD of the blocks of a pair. The previous pair's is unpersisted."""
        if self._subset and self._subset[0] == pair:
            return self._subset[1]
        self.release()
        if all(pair.includes(label) for label in self.splits.u):
            return self.blocks
        subset = self.blocks.filter(lambda block: pair.includes(block[0]))
        self._subset = (pair, subset.persist(StorageLevel.MEMORY_AND_DISK))
        return self._subset[1]

    def unscaled(self, weights: Array) -> Array:
        """Return weights for features that are not scaled by column."""
        return weights if self.factors is None else weights * self.factors

    def release(self) -> None:
        """Unpersist the blocks of the last pair."""
        if self._subset:
            self._subset[1].unpersist()
            self._subset = None


class RowsSummary(NamedTuple):
    """Description of rows of one class for the driver."""

    label: str  # the class
    paths: list[str]  # sorted paths
    width: int | None = None  # number of features; None if the class is not used
    invalid: str | None = None  # path of a row without features, or with NaN or infinity
    error: str = ""  # error message of a file without features; the other attributes are empty


# Features [k, d], or None if the class is not used.
LoadedRows = tuple[Optional[Array], RowsSummary]


class LoadedFeatures(NamedTuple):
    """Features on the executors before the split."""

    rows: Any  # persisted RDD of `LoadedRows`
    summaries: list[RowsSummary]  # the summaries of all rows

    @classmethod
    def read(
        cls, source: FeatureSource, classes: frozenset[str], scale: str, partitions: int | None
    ) -> LoadedFeatures:
        """Read and persist the features of some classes in one Spark job.

        Args:
            source: Where the features are read from.
            classes: Classes to read; empty means all.
            scale: `rows` scales each row to length 1.
            partitions: Assign rows to this number of partitions by their path, so that sums over
                partitions are identical for any layout of the files. With None, rows stay in the
                partition that read them.
        """
        rows = source.records.mapPartitions(row_reader(source.batches, classes, scale))
        if partitions:
            rows = partition_by_path(rows, partitions)
        persisted = rows.persist(StorageLevel.MEMORY_AND_DISK)
        return cls(persisted, persisted.map(lambda record: record[1]).collect())

    def labelled_paths(self) -> list[tuple[str, str]]:
        """Return (path, label) of all rows."""
        return [(path, summary.label) for summary in self.summaries for path in summary.paths]

    def problem(self, classes: Iterable[str]) -> str:
        """Return an error message for the features of these classes, or an empty string."""
        used = [one for one in self.summaries if one.label in classes and one.width is not None]
        invalid = sorted(one.invalid for one in used if one.invalid)
        if invalid:
            return f"{invalid[0]}: no features, or NaN or infinity in them"
        widths = {one.width or 0: one.label for one in used}
        if len(widths) > 1:
            lengths = ", ".join(f"{width} (in {widths[width]})" for width in sorted(widths))
            return f"features of different lengths: {lengths}"
        return ""

    def dataset(self, splits: TrainTestSplits) -> Dataset:
        """Return the blocks of the classes in the splits."""
        positions = self.rows.context.broadcast(splits.u)

        def block(record: LoadedRows) -> Iterator[Block]:
            x, rows = record
            if x is not None and rows.label in positions.value:
                by_path = positions.value[rows.label]
                yield rows.label, np.array([by_path[path] for path in rows.paths]), x

        dimension = max((summary.width or 0 for summary in self.summaries), default=0)
        return Dataset(self.rows.flatMap(block), splits, dimension)


def scale_columns(data: Dataset, share: float) -> Dataset:
    """Divide columns by their standard deviation over the rows with u < share, without centring.

    With the smallest share, these rows train every model of their class, so no test row is used.
    As MLlib's StandardScaler(withMean=False): the sample's deviation, and 0 for constant columns.
    """
    dimension = data.dimension  # the function is pickled, and `data` cannot be

    def sums(blocks: Iterable[Block]) -> Iterator[Array]:
        total = np.zeros((3, dimension))
        for _, u, x in blocks:
            rows = x[u < share].astype(np.float64)
            total += np.stack([np.full(x.shape[1], len(rows)), rows.sum(0), (rows**2).sum(0)])
        yield total

    count, first, second = data.blocks.mapPartitions(sums).treeReduce(lambda a, b: a + b)
    variance = (second - first**2 / np.maximum(count, 1)) / np.maximum(count - 1, 1)
    constant = variance <= 1e-12 * second / np.maximum(count, 1)  # zero but for rounding
    factors = np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, variance)))
    shared = data.blocks.context.broadcast(factors)
    blocks = data.blocks.map(
        lambda row: (row[0], row[1], (row[2] * shared.value).astype(row[2].dtype))
    )
    return Dataset(blocks.persist(StorageLevel.MEMORY_AND_DISK), data.splits, dimension, factors)


# ---- Arrow batches to rows -----------------------------------------------------------------------


def row_reader(
    batches: Callable[[Iterable[Any]], Iterator[Any]], classes: frozenset[str], scale: str
) -> Callable[[Iterable[Any]], Iterator[LoadedRows]]:
    """Return a function for mapPartitions that converts records of a source to `LoadedRows`.

    Errors are returned in the summary, not raised: the user would see a failed task instead.
    """

    def read(records: Iterable[Any]) -> Iterator[LoadedRows]:
        for batch in batches(records):
            if isinstance(batch, str):
                yield None, RowsSummary("", [], error=batch)
            else:
                yield from split_by_class(batch)

    def split_by_class(batch: Any) -> Iterator[LoadedRows]:
        paths, labels = (np.array(batch.column(n).to_pylist(), dtype=object) for n in (0, 1))
        column = batch.column(2)
        widths = np.array(column.value_lengths().fill_null(0))
        # A null inside a list becomes NaN, which is reported as invalid.
        values = column.flatten().to_numpy(zero_copy_only=False)
        sortable = np.array([str(label) for label in labels], dtype=object)
        for rows in runs(np.lexsort((paths, widths, sortable)), labels, widths):
            label, own_paths = labels[rows[0]], paths[rows].tolist()
            if classes and label not in classes:
                yield None, RowsSummary(label, own_paths)
                continue
            x = scale_rows(select_rows(values, widths, rows), scale)
            bad = ~np.isfinite(x).all(axis=1) if x.shape[1] else np.ones(len(x), dtype=bool)
            invalid = own_paths[int(bad.argmax())] if bad.any() else None
            yield x, RowsSummary(label, own_paths, x.shape[1], invalid)

    return read


def runs(order: Array, labels: Array, widths: Array) -> Iterator[Array]:
    """Split an order of rows where class or width changes."""
    if len(order):
        changed = (labels[order][1:] != labels[order][:-1]) | (np.diff(widths[order]) != 0)
        yield from np.split(order, np.flatnonzero(changed) + 1)


def select_rows(values: Array, widths: Array, rows: Array) -> Array:
    """Return the numbers of rows of equal width, [rows, width]."""
    width = int(widths[rows[0]])
    if width and (widths == width).all():
        return values.reshape(-1, width)[rows]
    starts = (np.cumsum(widths) - widths)[rows]  # the batch has several widths
    selected: Array = values[starts[:, None] + np.arange(width)]
    return selected


def scale_rows(x: Array, scale: str) -> Array:
    """Scale each row to length 1 if `scale` is `rows`; rows of zeros are unchanged."""
    if scale != "rows":
        return x
    lengths = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))[:, None]
    return (x / np.where(lengths > 0, lengths, 1)).astype(x.dtype)


# ---- partitions by path --------------------------------------------------------------------------


def partition_by_path(rows: Any, partitions: int) -> Any:
    """Move each row to the partition that its path determines."""

    def assign(record: LoadedRows) -> Iterator[tuple[int, LoadedRows]]:
        x, summary = record
        if x is None:
            yield 0, record
            return
        numbers = np.array([partition_of(path, partitions) for path in summary.paths])
        for number in np.unique(numbers).tolist():
            selected = np.flatnonzero(numbers == number)
            paths = [summary.paths[row] for row in selected]
            invalid = summary.invalid if summary.invalid in paths else None
            yield number, (x[selected], summary._replace(paths=paths, invalid=invalid))

    return rows.flatMap(assign).partitionBy(partitions, int).mapPartitions(merge_rows)


def partition_of(path: str, partitions: int) -> int:
    """Return a partition number that is the same in every process, unlike Python's own hash."""
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def merge_rows(records: Iterable[tuple[int, LoadedRows]]) -> Iterator[LoadedRows]:
    """Merge the rows of a partition by class and width, in a fixed order."""
    groups: dict[tuple[str, int], list[tuple[Array, RowsSummary]]] = {}
    for _, (x, summary) in records:
        if x is None:
            yield x, summary
        else:
            groups.setdefault((summary.label, x.shape[1]), []).append((x, summary))
    for label, width in sorted(groups, key=str):
        parts = groups[label, width]
        paths = np.array([path for _, summary in parts for path in summary.paths], dtype=object)
        order = np.argsort(paths, kind="stable")
        merged = np.concatenate([x for x, _ in parts])[order]
        invalid = next((summary.invalid for _, summary in parts if summary.invalid), None)
        yield merged, RowsSummary(label, paths[order].tolist(), width, invalid)
