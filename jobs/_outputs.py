"""What the SVM study leaves: tables, models and the plot of accuracy against training share."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from _common import Files, join, to_json
from _learning import Array, Group, Splits

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
}
SPLITS = {"path": "string", "label": "string", "seed": "int64", "u": "float64"}
NAMED_CURVES = 12  # more names than that hide the picture
Row = dict[str, Any]


class Writer:
    """Writes the study's files below one folder."""

    def __init__(self, files: Files, output: str) -> None:
        self._files = files
        self._output = output

    def clear_models(self) -> None:
        """Remove an earlier run's models: in the same folder they would pass for this one's."""
        self._files.delete(join(self._output, "models"))

    def weights(self, group: Group, share: float, weights: Array) -> None:
        """Write models/<a>_VS_<b>/share=<s>/weights.npy."""
        place = join("models", group.folder, f"share={share:g}", "weights.npy")
        self._files.write(join(self._output, place), npy(weights))

    def best(self, group: Group, weights: Array, meta: Row) -> None:
        """Write the best model of a pair beside its shares, with what it is."""
        folder = join(self._output, "models", group.folder)
        self._files.write(join(folder, "weights.npy"), npy(weights))
        self._files.write(join(folder, "meta.json"), to_json(meta))

    def splits(self, splits: Splits) -> None:
        """Write splits.parquet."""
        columns = list(zip(*splits.rows()))
        table = table_of(dict(zip(SPLITS, columns)), SPLITS)
        self._files.write(join(self._output, "splits.parquet"), parquet(table))

    def accuracies(self, rows: Sequence[Row]) -> None:
        """Write accuracies.parquet, accuracies.csv and accuracy.png."""
        table = table_of({name: [row[name] for row in rows] for name in ACCURACIES}, ACCURACIES)
        self._files.write(join(self._output, "accuracies.parquet"), parquet(table))
        self._files.write(join(self._output, "accuracies.csv"), csv(table))
        if importlib.util.find_spec("matplotlib"):
            self._files.write(join(self._output, "accuracy.png"), plot(rows))


def npy(weights: Array) -> bytes:
    """An array in numpy's own file format."""
    buffer = io.BytesIO()
    np.save(buffer, weights)
    return buffer.getvalue()


def table_of(columns: dict[str, Any], kinds: dict[str, str]) -> Any:
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


# ---- the plot ------------------------------------------------------------------------------------


def plot(rows: Sequence[Row]) -> bytes:
    """Accuracy against training share, a panel for each task, the majority baseline dashed."""
    # The figure is made without pyplot: that keeps no state and asks for no display.
    from matplotlib.figure import Figure

    tasks = sorted({row["task"] for row in rows})
    figure = Figure(figsize=(7 * max(len(tasks), 1), 5), layout="constrained")
    for panel, task in enumerate(tasks):
        axes = figure.add_subplot(1, len(tasks), panel + 1)
        draw(axes, [row for row in rows if row["task"] == task])
        axes.set(title=task, xlabel="share that trains", ylabel="accuracy on the rest")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def draw(axes: Any, rows: Sequence[Row]) -> None:
    """One curve for each pair, named while they are few, and the means of all."""
    curves: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["accuracy"] is not None:
            curves.setdefault((row["positive"], row["negative"]), []).append(row)
    few = len(curves) <= NAMED_CURVES
    for (positive, negative), points in curves.items():
        label = f"{positive} VS {negative}" if few else None
        xs = [point["share"] for point in points]
        ys = [point["accuracy"] for point in points]
        axes.plot(xs, ys, marker="o", alpha=1.0 if few else 0.2, label=label, markersize=4)
    drawn = [point for points in curves.values() for point in points]
    for name, style in (("accuracy", "k-"), ("majority_baseline", "k--")):
        xs, ys = means(drawn, name)
        axes.plot(xs, ys, style, linewidth=2, label=f"mean {name.replace('_', ' ')}")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)


def means(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    """Shares, and the mean of a column at each."""
    shares = sorted({row["share"] for row in rows})
    by_share = [[row[name] for row in rows if row["share"] == share] for share in shares]
    return shares, [sum(values) / len(values) for values in by_share]
