"""This run's models beside an earlier run's, on the same rows: McNemar's test for each model."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from _common import Files, JobError, join
from _learning import Splits
from _report import rows_of
from _scores import Row, mcnemar

Key = tuple[str, str, str, float]


class Earlier:
    """An earlier run's --output: where each row stood in its split, and all answers in bits."""

    def __init__(self, files: Files, path: str) -> None:
        """Read it.

        Raises:
            JobError: It has no splits or no predictions.
        """
        splits = join(path, "splits.parquet")
        if not files.exists(splits) or not files.exists(join(path, "predictions")):
            raise JobError(f"--against {path}: not the --output of a run with --predictions")
        self._files = files
        self._path = path
        self._u = {(row["path"], row["label"]): row["u"] for row in read(files, splits)}
        self._says = answers(files, path)

    def check(self, splits: Splits) -> None:
        """The rows of both runs must be the same, in the same places.

        Raises:
            JobError: They are not: another seed, other classes or other pictures.
        """
        if {(path, label): u for path, label, _, u in splits.rows()} != self._u:
            raise JobError(f"--against {self._path}: other rows, classes or seed than this run's")

    def compared(self, output: str, splits: Splits) -> list[Row]:
        """Rows of mcnemar.parquet for the models that both runs have."""
        mine = answers(self._files, output)
        return [
            compared(key, says, self._says[key], splits)
            for key, says in mine.items()
            if key in self._says
        ]


def answers(files: Files, path: str) -> dict[Key, bytes]:
    """Answers of all models of a run, a bit for each row."""
    return {
        (row["task"], row["positive"], row["negative"], row["share"]): row["says"]
        for name, _ in sorted(files.listed(join(path, "predictions")))
        for row in read(files, name)
    }


def read(files: Files, path: str) -> list[dict[str, Any]]:
    """The rows of one Parquet file."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(files.read(path))).to_pylist()
    return rows


def compared(key: Key, this: bytes, that: bytes, splits: Splits) -> Row:
    """One row of mcnemar.parquet."""
    model: Row = dict(zip(("task", "positive", "negative", "share"), key))
    rows = rows_of(splits, model)
    truth = np.array([label == model["positive"] for _, label, _ in rows])
    tests = np.array([u >= model["share"] for _, _, u in rows])
    right, other = (
        (np.unpackbits(np.frombuffer(bits, np.uint8), count=len(rows)) == truth)[tests]
        for bits in (this, that)
    )
    only_this, only_that = int((right & ~other).sum()), int((other & ~right).sum())
    return {
        **model,
        "n_test": int(tests.sum()),
        "n_correct": int(right.sum()),
        "n_correct_against": int(other.sum()),
        "only_this": only_this,
        "only_against": only_that,
        "p": mcnemar(only_this, only_that),
    }
