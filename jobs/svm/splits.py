"""The models to train, and which rows train and test them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple
from urllib.parse import quote

ALL = "all"


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
