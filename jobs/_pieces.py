"""Features as they are read: Arrow batches to arrays, class by class; no row becomes an object.

A piece is the rows of one class out of one batch, ordered by path. Solvers that sum over partitions
have rows go there by the hash of their path (`by_path`), so that the same data give the same sums,
bit by bit, however many files they came in and in whatever order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

Array = np.ndarray[Any, Any]


class Piece(NamedTuple):
    """Rows of one class.

    Attributes:
        label: The class.
        paths: Of each row, rising.
        x: Features, float32 or float64 [k, d] as they came; None: the class does not take part.
    """

    label: str
    paths: list[str]
    x: Array | None


class Seen(NamedTuple):
    """What the driver learns of a piece.

    Attributes:
        label: The class.
        paths: Of each row.
        width: Of its features; None where they were not looked at.
        bad: The path of a row without features, or with NaN or infinity in them.
        wrong: Why a file holds no features; then there is nothing else.
    """

    label: str
    paths: list[str]
    width: int | None = None
    bad: str | None = None
    wrong: str = ""


Read = tuple[Optional[Piece], Seen]


def reader(
    batches: Callable[[Iterable[Any]], Iterator[Any]], asked: frozenset[str], scale: str
) -> Callable[[Iterable[Any]], Iterator[Read]]:
    """For mapPartitions: what a source holds, as pieces, and what the driver is to know of them.

    What is wrong is told, not raised: that would show the user a failed task instead.

    Args:
        batches: The source's own.
        asked: Classes that take part; empty: all.
        scale: `rows` makes each row's length 1; else they stay as they are.
    """

    def made(records: Iterable[Any]) -> Iterator[Read]:
        for batch in batches(records):
            if isinstance(batch, str):
                yield None, Seen("", [], wrong=batch)
            else:
                yield from pieces(batch)

    def pieces(batch: Any) -> Iterator[Read]:
        paths, labels = (np.array(batch.column(n).to_pylist(), dtype=object) for n in (0, 1))
        widths, values = flat(batch.column(2))
        sortable = np.array([str(label) for label in labels], dtype=object)
        for rows in runs(np.lexsort((paths, widths, sortable)), labels, widths):
            label, mine = labels[rows[0]], paths[rows].tolist()
            if asked and label not in asked:
                yield None, Seen(label, mine)
                continue
            x = scaled(taken(values, widths, rows), scale)
            wrong = ~np.isfinite(x).all(axis=1) if x.shape[1] else np.ones(len(x), dtype=bool)
            bad = mine[int(wrong.argmax())] if wrong.any() else None
            yield Piece(label, mine, x), Seen(label, mine, x.shape[1], bad)

    return made


def flat(column: Any) -> tuple[Array, Array]:
    """Lengths of an Arrow column of lists (0 for null), and all their numbers one after another."""
    widths = np.array(column.value_lengths().fill_null(0))
    # A null inside becomes NaN, and is refused as such.
    return widths, column.flatten().to_numpy(zero_copy_only=False)


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


# ---- rows in partitions by their path ------------------------------------------------------------


def by_path(read: Any, partitions: int) -> Any:
    """The same rows, each in the partition that its path says."""

    def dealt(record: Read) -> Iterator[tuple[int, Read]]:
        piece, seen = record
        if piece is None or piece.x is None:
            yield 0, record
            return
        places = np.array([place_of(path, partitions) for path in piece.paths])
        for place in np.unique(places).tolist():
            rows = np.flatnonzero(places == place)
            mine = [piece.paths[row] for row in rows]
            bad = seen.bad if seen.bad in mine else None
            part = Piece(piece.label, mine, piece.x[rows])
            yield place, (part, Seen(piece.label, mine, seen.width, bad))

    return read.flatMap(dealt).partitionBy(partitions, int).mapPartitions(joined)


def place_of(path: str, partitions: int) -> int:
    """The same in every process: Python's own hash is not."""
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def joined(records: Iterable[tuple[int, Read]]) -> Iterator[Read]:
    """The pieces of a partition put together, one for each class and width, in a fixed order."""
    held: dict[tuple[str, int], list[tuple[Piece, Seen]]] = {}
    for _, (piece, seen) in records:
        if piece is None or piece.x is None:
            yield piece, seen
        else:
            held.setdefault((piece.label, piece.x.shape[1]), []).append((piece, seen))
    for label, width in sorted(held, key=str):
        parts = held[label, width]
        paths = np.array([path for piece, _ in parts for path in piece.paths], dtype=object)
        order = np.argsort(paths, kind="stable")
        x = np.concatenate([piece.x for piece, _ in parts if piece.x is not None])[order]
        bad = next((seen.bad for _, seen in parts if seen.bad), None)
        mine = paths[order].tolist()
        yield Piece(label, mine, x), Seen(label, mine, width, bad)
