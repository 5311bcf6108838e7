"""What the SVM study is made of, whatever solves it: classes and splits, data in blocks.

A block is (label, u, x): the rows of one class in one partition, u their position in the split
(float64 [k]) and x their features (float32 or float64 [k, d]), ordered by path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple
from urllib.parse import quote

import _pieces
import numpy as np
from _pieces import Piece, Read, Seen
from _sources import Source
from pyspark import StorageLevel

Array = np.ndarray[Any, Any]
Block = tuple[str, Array, Array]
ALL = "all"


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


@dataclass
class Data:
    """Blocks on the executors, persisted, and what the driver knows of them."""

    blocks: Any
    splits: Splits
    dimension: int
    factors: Array | None = None  # what each column was multiplied by, [d]
    extractor: dict[str, Any] | None = None  # what made the features, where that is known
    pictures: str | None = None  # and of which
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


class Loaded(NamedTuple):
    """Features on the executors, persisted, before anyone knows who trains.

    Attributes:
        read: RDD of pieces, each with what was seen of it.
        seen: The same, on the driver.
    """

    read: Any
    seen: list[Seen]

    @classmethod
    def of(cls, source: Source, asked: frozenset[str], layout: Layout) -> Loaded:
        """Read the features once: one job fills the cache and tells what is there.

        Args:
            source: The features.
            asked: Classes whose features are wanted; empty: all.
            layout: How rows are laid out and scaled.
        """
        read = source.raw.mapPartitions(_pieces.reader(source.batches, asked, layout.scale))
        if layout.fixed:
            read = _pieces.by_path(read, layout.partitions)
        kept = read.persist(StorageLevel.MEMORY_AND_DISK)
        return cls(kept, kept.map(lambda record: record[1]).collect())

    def rows(self) -> list[tuple[str, str]]:
        """(path, label) of all that was read."""
        return [(path, seen.label) for seen in self.seen for path in seen.paths]

    def problems(self, classes: Iterable[str]) -> list[str]:
        """Sentences on what is wrong with the features of these classes."""
        mine = [seen for seen in self.seen if seen.label in classes and seen.width is not None]
        bad = sorted(seen.bad for seen in mine if seen.bad)
        problems = [f"{path}: no features, or NaN or infinity in them" for path in bad[:1]]
        widths = {seen.width: seen.label for seen in mine}
        if len(widths) > 1 and not bad:
            told = ", ".join(
                f"{width} (in {widths[width]})" for width in sorted(w or 0 for w in widths)
            )
            problems.append(f"features of different lengths: {told}")
        return problems

    def data(self, splits: Splits) -> Data:
        """Blocks of the classes that take part."""
        carried = self.read.context.broadcast(splits.u)

        def block(record: Read) -> Iterator[Block]:
            piece = record[0]
            if isinstance(piece, Piece) and piece.x is not None and piece.label in carried.value:
                known = carried.value[piece.label]
                yield piece.label, np.array([known[path] for path in piece.paths]), piece.x

        dimension = max((seen.width or 0 for seen in self.seen), default=0)
        return Data(self.read.flatMap(block), splits, dimension)


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
