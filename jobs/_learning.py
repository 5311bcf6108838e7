"""What the SVM study is made of, whatever solves it: classes and splits, data in blocks.

A block is (label, u, x): the rows of one class in one partition, u their position in the split
(float64 [k]) and x their features (float32 or float64 [k, d]), ordered by path. Solvers that sum
over partitions have rows go there by the hash of their path, so that the same data give the same
sums, bit by bit, however many files they came in and in whatever order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import quote

import numpy as np
from _sources import Source
from pyspark import StorageLevel

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


Packed = tuple[Block, Optional[str]]


def to_blocks(u: Any, double: bool, scale: str) -> Callable[[Any], Iterator[Packed]]:
    """Arrow batches (path, label, features) to blocks; no row becomes a Python object.

    Args:
        u: Broadcast of the splits' u by class and path.
        double: Keep float64; else float32, which is what Parquet features mostly are.
        scale: `rows` makes each row's length 1; else they stay as they are.

    Beside each block stands the path of a row without features, or with NaN or infinity in them:
    raising here would show the user a failed task instead.
    """

    def made(batches: Any) -> Iterator[Packed]:
        for batch in batches:
            paths, labels = (np.array(batch.column(n).to_pylist(), dtype=object) for n in (0, 1))
            widths, values = flat(batch.column(2), np.float64 if double else np.float32)
            order = np.lexsort((paths, widths, labels)) if len(paths) else np.empty(0, np.int64)
            for rows in runs(order, labels, widths):
                x = scaled(taken(values, widths, rows), scale)
                yield block(labels[rows[0]], paths[rows], x)

    def block(label: str, paths: Array, x: Array) -> Packed:
        wrong = ~np.isfinite(x).all(axis=1) if x.shape[1] else np.ones(len(x), dtype=bool)
        bad = paths[int(wrong.argmax())] if wrong.any() else None
        known = u.value[label]
        return (label, np.array([known[path] for path in paths]), x), bad

    return made


def to_rows(packed: Callable[[Any], Iterator[Packed]]) -> Callable[[Any], Iterator[Any]]:
    """For mapInArrow: blocks as rows of BLOCKS."""

    def made(batches: Any) -> Iterator[Any]:
        import pyarrow as pa

        kinds = [pa.string(), pa.list_(pa.float64()), pa.int32(), pa.binary(), pa.string()]
        for (label, u, x), bad in packed(batches):
            cells = [label, u, x.shape[1], x.tobytes(), bad]
            arrays = [pa.array([cell], kind) for cell, kind in zip(cells, kinds)]
            yield pa.RecordBatch.from_arrays(arrays, ["label", "u", "width", "x", "bad"])

    return made


def flat(column: Any, kind: Any) -> tuple[Array, Array]:
    """Lengths of an Arrow column of lists (0 for null), and all their numbers one after another."""
    widths = np.array(column.value_lengths().fill_null(0))
    numbers = column.flatten()  # a null inside becomes NaN, and is refused as such
    return widths, numbers.to_numpy(zero_copy_only=False).astype(kind, copy=False)


def runs(order: Array, labels: Array, widths: Array) -> Iterator[Array]:
    """The order, cut where the class or the width changes."""
    if len(order):
        changed = (labels[order][1:] != labels[order][:-1]) | (np.diff(widths[order]) != 0)
        yield from np.split(order, np.flatnonzero(changed) + 1)


def taken(values: Array, widths: Array, rows: Array) -> Array:
    """The numbers of some rows, all of one width: [rows, width]."""
    width = int(widths[rows[0]])
    if width and (widths == width).all():
        return values.reshape(-1, width)[rows]
    starts = (np.cumsum(widths) - widths)[rows]  # rows of several widths: they will be refused
    picked: Array = values[starts[:, None] + np.arange(width)]
    return picked


def scaled(x: Array, scale: str) -> Array:
    """Rows as they are, or each divided by its length; one of zeros stays."""
    if scale != "rows":
        return x
    lengths = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))[:, None]
    return (x / np.where(lengths > 0, lengths, 1)).astype(x.dtype)


def from_row(double: bool) -> Callable[[Any], Packed]:
    """A row of BLOCKS as a block, and the path of a bad row in it."""
    kind = np.float64 if double else np.float32

    def made(row: Any) -> Packed:
        x = np.frombuffer(row["x"], dtype=kind)
        places = np.array(row["u"])
        return (row["label"], places, x.reshape(-1, row["width"] or 1)), row["bad"]

    return made


@dataclass
class Data:
    """Blocks on the executors, persisted, and what the driver knows of them."""

    blocks: Any
    splits: Splits
    dimension: int
    factors: Array | None = None  # what each column was multiplied by, [d]
    extractor: dict[str, Any] | None = None  # what made the features, where that is known
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

    def unscaled(self, weights: Array) -> Array:
        """Weights for features as they came: what scaling did to the columns goes into them."""
        return weights if self.factors is None else weights * self.factors

    def release(self) -> None:
        """Let go of the last group's rows."""
        if self._cut:
            self._cut[1].unpersist()
            self._cut = None


def load(source: Source, splits: Splits, layout: Layout) -> tuple[Data, list[str]]:
    """Read the features once, into persisted blocks.

    Args:
        source: The features, of more classes maybe.
        splits: Where each row of the asked classes stands.
        layout: How rows are laid out and scaled.

    Returns:
        The data, and sentences on what is wrong with them (none when all is well).
    """
    kept = layout.blocks(source, splits).persist(StorageLevel.MEMORY_AND_DISK)
    # One job reads everything: it fills the cache and tells the widths and the bad rows.
    seen = kept.map(lambda row: (row[0][2].shape[1], row[0][0], row[1])).collect()
    bad = sorted(path for _, _, path in seen if path)
    widths = {width: label for width, label, _ in seen}
    problems = [f"{path}: no features, or NaN or infinity in them" for path in bad[:1]]
    if len(widths) > 1 and not bad:
        told = ", ".join(f"{width} (in {label})" for width, label in sorted(widths.items()))
        problems.append(f"features of different lengths: {told}")
    return Data(kept.map(lambda row: row[0]), splits, max(widths, default=0)), problems


class Layout(NamedTuple):
    """How rows are laid out over tasks, and scaled.

    Attributes:
        partitions: Of the blocks, where `fixed`.
        fixed: Rows go to partitions by their path, whatever the files were, so that sums over
            partitions come out the same to the bit; else they stay where they were read.
        scale: `none`, `rows` (each of length 1) or `columns` (see `by_columns`).
    """

    partitions: int
    fixed: bool
    scale: str

    def blocks(self, source: Source, splits: Splits) -> Any:
        """RDD of blocks, each with the path of a bad row in it."""
        classes = list(splits.u)
        raw = source.raw(classes)
        u = raw.sparkSession.sparkContext.broadcast(splits.u)
        packed = to_blocks(u, source.double, self.scale)
        if self.fixed:
            moved = source.frame(classes).repartition(self.partitions, "path")
            return moved.mapInArrow(to_rows(packed), BLOCKS).rdd.map(from_row(source.double))
        read = source.batches(frozenset(classes))
        if source.whole:
            # Whole files go straight into Python, and nothing comes back through the JVM's rows.
            return raw.rdd.mapPartitions(lambda rows: packed(read(whole_files(rows))))
        rows = raw.mapInArrow(to_rows(lambda batches: packed(read(batches))), BLOCKS)
        return rows.rdd.map(from_row(source.double))


def whole_files(rows: Iterable[Any]) -> Iterator[Any]:
    """Rows (path, content) as Arrow batches, one for each file."""
    import pyarrow as pa

    for path, content in rows:
        yield pa.RecordBatch.from_arrays(
            [pa.array([path]), pa.array([content])], ["path", "content"]
        )


def by_columns(data: Data, share: float) -> Data:
    """Columns divided by their standard deviation over the rows with u < share, not centred.

    With the smallest share those rows train every model that sees their class, so that no row that
    tests has a say. As MLlib's StandardScaler(withMean=False): the sample's deviation, and a column
    that does not vary becomes 0.
    """
    dimension = data.dimension  # the function goes to the executors, and `data` cannot

    def sums(blocks: Iterable[Block]) -> Iterator[Array]:
        total = np.zeros((3, dimension))
        for _, u, x in blocks:
            rows = x[u < share].astype(np.float64)
            total += np.stack([np.full(x.shape[1], len(rows)), rows.sum(0), (rows**2).sum(0)])
        yield total

    count, first, second = data.blocks.mapPartitions(sums).treeReduce(lambda a, b: a + b)
    variance = (second - first**2 / np.maximum(count, 1)) / np.maximum(count - 1, 1)
    steady = variance <= 1e-12 * second / np.maximum(count, 1)  # what rounding leaves of nothing
    factors = np.where(steady, 0.0, 1 / np.sqrt(np.where(steady, 1.0, variance)))
    carried = data.blocks.context.broadcast(factors)
    blocks = data.blocks.map(
        lambda row: (row[0], row[1], (row[2] * carried.value).astype(row[2].dtype))
    )
    return Data(blocks.persist(StorageLevel.MEMORY_AND_DISK), data.splits, data.dimension, factors)
