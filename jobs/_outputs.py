"""What the SVM study leaves: tables, models, answers, pictures and the page."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import _plots
import _report
import numpy as np
from _common import Files, Folder, join, to_json
from _descent import Array
from _gathered import Heat
from _learning import Group, Splits
from _report import Report
from _scores import Row
from _solvers import Fit, Task

ACCURACIES = {
    "task": "string",
    "positive": "string",
    "negative": "string",
    "share": "float64",
    "seed": "int64",
    "solver": "string",
    "n_train": "int64",
    "n_test": "int64",
    "n_correct": "int64",
    "accuracy": "float64",
    "balanced_accuracy": "float64",
    "majority_baseline": "float64",
    "iterations_run": "int64",
    "train_s": "float64",
    "roc_auc": "float64",
    "f1": "float64",
    "tp": "int64",
    "fn": "int64",
    "fp": "int64",
    "tn": "int64",
}
SPLITS = {"path": "string", "label": "string", "seed": "int64", "u": "float64"}
MULTICLASS = {
    "method": "string",
    "share": "float64",
    "seed": "int64",
    "solver": "string",
    "n_test": "int64",
    "n_correct": "int64",
    "accuracy": "float64",
    "balanced_accuracy": "float64",
    "macro_f1": "float64",
    "majority_baseline": "float64",
}
CONFUSION = {
    "method": "string",
    "share": "float64",
    "label": "string",
    "said": "string",
    "n": "int64",
}
MODEL = {"task": "string", "positive": "string", "negative": "string", "share": "float64"}
PREDICTIONS = {**MODEL, "says": "binary"}
MCNEMAR = {
    **MODEL,
    "n_test": "int64",
    "n_correct": "int64",
    "n_correct_against": "int64",
    "only_this": "int64",
    "only_against": "int64",
    "p": "float64",
}
FOLDERS = ("models", "predictions")
PART_BYTES = 32 << 20  # of answers held before they are written


class Writer:
    """Writes the study's files below one folder."""

    def __init__(self, files: Files, output: str) -> None:
        self.files = files
        self.output = output
        self.folder = files.folder(output)
        self._answers: list[Row] = []
        self._bytes = 0
        self._parts = 0

    def clear(self) -> None:
        """Remove an earlier run's models and answers: they would pass for this one's."""
        for folder in FOLDERS:
            self.files.delete(join(self.output, folder))

    def weights(self, group: Group, share: float, weights: Array) -> None:
        """Write models/<a>_VS_<b>/share=<s>/weights.npy."""
        place = join("models", group.folder, f"share={share:g}", "weights.npy")
        self.folder.write(place, npy(weights))

    def best(self, group: Group, weights: Array, meta: Row) -> None:
        """Write the best model of a pair beside its shares, with what it is."""
        folder = join("models", group.folder)
        self.folder.write(join(folder, "weights.npy"), npy(weights))
        self.folder.write(join(folder, "meta.json"), to_json(meta))

    def says(self, task: Task, fits: Iterable[Fit]) -> None:
        """Take the answers of one group; some MB of them make a file of predictions/."""
        for share, fit in zip(task.shares, fits):
            row = {**task.group._asdict(), "share": share, "says": fit.scores.says}
            self._answers.append(row)
            self._bytes += len(fit.scores.says) + 100
        if self._bytes > PART_BYTES:
            self.end_answers()

    def end_answers(self) -> None:
        """Write what answers are held."""
        if self._answers:
            self._table(join("predictions", f"part-{self._parts:05}"), self._answers, PREDICTIONS)
            self._answers, self._bytes, self._parts = [], 0, self._parts + 1

    def splits(self, splits: Splits) -> None:
        """Write splits.parquet."""
        columns = list(zip(*splits.rows()))
        table = table_of(dict(zip(SPLITS, columns)), SPLITS)
        self.folder.write("splits.parquet", parquet(table))

    def accuracies(self, rows: Sequence[Row]) -> None:
        """Write accuracies.parquet and accuracies.csv."""
        table = self._table("accuracies", rows, ACCURACIES)
        self.folder.write("accuracies.csv", csv(table))

    def classes(self, rows: Sequence[Row], cells: Sequence[Row]) -> None:
        """Write multiclass.parquet and confusion.parquet."""
        self._table("multiclass", rows, MULTICLASS)
        self._table("confusion", cells, CONFUSION)

    def report(self, report: Report) -> None:
        """Write report.html, and accuracy.png and heatmap.png where matplotlib is there."""
        self.folder.write("report.html", _report.page(report).encode())
        if not importlib.util.find_spec("matplotlib"):
            return
        self.folder.write("accuracy.png", _plots.curves(report.rows))
        heat = Heat.of(report.rows)
        if heat:
            self.folder.write("heatmap.png", _plots.heatmap(heat))

    def _table(self, name: str, rows: Sequence[Row], kinds: Mapping[str, str]) -> Any:
        table = table_of({column: [row[column] for row in rows] for column in kinds}, kinds)
        self.folder.write(f"{name}.parquet", parquet(table))
        return table


def write_mcnemar(folder: Folder, rows: Sequence[Row]) -> str:
    """Write mcnemar.parquet; what it comes to."""
    table = table_of({column: [row[column] for row in rows] for column in MCNEMAR}, MCNEMAR)
    folder.write("mcnemar.parquet", parquet(table))
    apart = sum(row["p"] < 0.05 for row in rows)
    ahead = sum(row["p"] < 0.05 and row["only_this"] > row["only_against"] for row in rows)
    return (
        f"McNemar: {apart} of {len(rows)} models differ at p < 0.05 (5 % would by chance), "
        f"{ahead} of them for the better"
    )


def npy(weights: Array) -> bytes:
    """An array in numpy's own file format."""
    buffer = io.BytesIO()
    np.save(buffer, weights)
    return buffer.getvalue()


def table_of(columns: Mapping[str, Any], kinds: Mapping[str, str]) -> Any:
    """An Arrow table with exactly these columns and types; None is null."""
    import pyarrow as pa

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])
    return pa.table({name: columns.get(name, []) for name in kinds}, schema=schema)


def parquet(table: Any) -> bytes:
    """A table as one Parquet file."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def csv(table: Any) -> bytes:
    """A table as CSV with a heading; null is an empty field."""
    from pyarrow.csv import write_csv

    buffer = io.BytesIO()
    write_csv(table, buffer)
    return buffer.getvalue()
