"""Feature vectors as blocks of arrays on the executors.

A block is (label, u, x): the rows of one class in one partition, with their positions u in the
split (float64 [k]) and their features x (float32 or float64 [k, d]), sorted by path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Optional

import numpy as np
from pyspark import StorageLevel

from svm import Array
from svm.feature_files import FeatureSource
from svm.splits import ClassPair, TrainTestSplits

Block = tuple[str, Array, Array]


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


class LoadOptions(NamedTuple):
    """How rows are distributed and scaled."""

    partitions: int  # number of partitions, if `by_path`
    # Assign rows to partitions by their path, so that sums over partitions are identical for any
    # layout of the files. Otherwise rows stay in the partition that read them.
    by_path: bool
    scale: str  # `none`, `rows` (each to length 1) or `columns` (see `scale_columns`)


class ClassRows(NamedTuple):
    """Rows of one class."""

    label: str  # the class
    paths: list[str]  # sorted paths
    x: Array | None  # features, float32 or float64 [k, d]; None if the class is not used


class RowsSummary(NamedTuple):
    """Description of `ClassRows` for the driver."""

    label: str  # the class
    paths: list[str]  # paths of the rows
    width: int | None = None  # number of features; None if the class is not used
    invalid: str | None = None  # path of a row without features, or with NaN or infinity
    error: str = ""  # error message of a file without features; the other attributes are empty


LoadedRows = tuple[Optional[ClassRows], RowsSummary]


class LoadedFeatures(NamedTuple):
    """Features on the executors before the split."""

    rows: Any  # persisted RDD of `LoadedRows`
    summaries: list[RowsSummary]  # the summaries of all rows

    @classmethod
    def read(
        cls, source: FeatureSource, classes: frozenset[str], options: LoadOptions
    ) -> LoadedFeatures:
        """Read and persist the features of some classes (empty: all) in one Spark job."""
        rows = source.records.mapPartitions(row_reader(source.batches, classes, options.scale))
        if options.by_path:
            rows = partition_by_path(rows, options.partitions)
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
            rows = record[0]
            if rows is not None and rows.x is not None and rows.label in positions.value:
                by_path = positions.value[rows.label]
                yield rows.label, np.array([by_path[path] for path in rows.paths]), rows.x

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
            yield (
                ClassRows(label, own_paths, x),
                RowsSummary(label, own_paths, x.shape[1], invalid),
            )

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
        block, summary = record
        if block is None or block.x is None:
            yield 0, record
            return
        numbers = np.array([partition_of(path, partitions) for path in block.paths])
        for number in np.unique(numbers).tolist():
            selected = np.flatnonzero(numbers == number)
            paths = [block.paths[row] for row in selected]
            invalid = summary.invalid if summary.invalid in paths else None
            part = ClassRows(block.label, paths, block.x[selected])
            yield number, (part, RowsSummary(block.label, paths, summary.width, invalid))

    return rows.flatMap(assign).partitionBy(partitions, int).mapPartitions(merge_rows)


def partition_of(path: str, partitions: int) -> int:
    """Return a partition number that is the same in every process, unlike Python's own hash."""
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def merge_rows(records: Iterable[tuple[int, LoadedRows]]) -> Iterator[LoadedRows]:
    """Merge the rows of a partition by class and width, in a fixed order."""
    groups: dict[tuple[str, int], list[tuple[ClassRows, RowsSummary]]] = {}
    for _, (block, summary) in records:
        if block is None or block.x is None:
            yield block, summary
        else:
            groups.setdefault((block.label, block.x.shape[1]), []).append((block, summary))
    for label, width in sorted(groups, key=str):
        parts = groups[label, width]
        paths = np.array([path for block, _ in parts for path in block.paths], dtype=object)
        order = np.argsort(paths, kind="stable")
        x = np.concatenate([block.x for block, _ in parts if block.x is not None])[order]
        invalid = next((summary.invalid for _, summary in parts if summary.invalid), None)
        ordered = paths[order].tolist()
        yield ClassRows(label, ordered, x), RowsSummary(label, ordered, width, invalid)
