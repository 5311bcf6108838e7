"""Files of the svm job's --output: write tables, models and predictions; read models.

    weights = read_model(files, "s3://bucket/study", ClassPair("pairs", "pug", "beagle"))
    to_sklearn(weights, "pug", "beagle").predict(features)            # a LinearSVC
    to_mllib(weights).save(sc, "s3://bucket/model")                   # an SVMModel
    pyspark.mllib.classification.SVMModel.load(sc, "s3://bucket/model")

In numpy: `numpy.load(".../weights.npy") @ features > 0` predicts the first class.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from common.files import HadoopFiles, join
from common.job import JobError, to_json
from svm import Array, report
from svm.report import StudyReport
from svm.scores import Row
from svm.solvers import TrainedModel
from svm.splits import ALL, ClassPair, TrainingTask, TrainTestSplits

ACCURACIES = {
    "task": "string", "positive": "string", "negative": "string", "share": "float64",
    "seed": "int64", "solver": "string", "n_train": "int64", "n_test": "int64",
    "n_correct": "int64", "accuracy": "float64", "balanced_accuracy": "float64",
    "majority_baseline": "float64", "iterations_run": "int64", "train_s": "float64",
    "roc_auc": "float64", "f1": "float64", "tp": "int64", "fn": "int64", "fp": "int64",
    "tn": "int64",
}  # fmt: skip
SPLITS = {"path": "string", "label": "string", "seed": "int64", "u": "float64"}
MULTICLASS = {
    "method": "string", "share": "float64", "seed": "int64", "solver": "string",
    "n_test": "int64", "n_correct": "int64", "accuracy": "float64",
    "balanced_accuracy": "float64", "macro_f1": "float64", "majority_baseline": "float64",
}  # fmt: skip
CONFUSION = {
    "method": "string", "share": "float64", "label": "string", "said": "string", "n": "int64",
}  # fmt: skip
MODEL = {"task": "string", "positive": "string", "negative": "string", "share": "float64"}
PREDICTIONS = {**MODEL, "says": "binary"}
MCNEMAR = {
    **MODEL, "n_test": "int64", "n_correct": "int64", "n_correct_against": "int64",
    "only_this": "int64", "only_against": "int64", "p": "float64",
}  # fmt: skip
PART_BYTES = 32 << 20  # predictions kept in memory before a file is written


class StudyWriter:
    """Writes the files of a study below one folder."""

    def __init__(self, files: HadoopFiles, output: str) -> None:
        self.files = files
        self.output = output
        self.folder = files.folder_writer(output)
        self._predictions: list[Row] = []
        self._bytes = 0
        self._parts = 0

    def clear(self) -> None:
        """Delete models and predictions of an earlier run, which would be mixed with new ones."""
        for folder in ("models", "predictions"):
            self.files.delete(join(self.output, folder))

    def write_model(self, pair: ClassPair, share: float, weights: Array) -> None:
        """Write models/<a>_VS_<b>/share=<s>/weights.npy."""
        path = join("models", pair.folder, f"share={share:g}", "weights.npy")
        self.folder.write(path, npy(weights))

    def write_best_model(self, pair: ClassPair, weights: Array, meta: Row) -> None:
        """Write the best model of a pair and its description, beside the folders of its shares."""
        folder = join("models", pair.folder)
        self.folder.write(join(folder, "weights.npy"), npy(weights))
        self.folder.write(join(folder, "meta.json"), to_json(meta))

    def add_predictions(self, task: TrainingTask, models: Iterable[TrainedModel]) -> None:
        """Add the predictions of a task. A file of predictions/ is written when it is large."""
        for share, model in zip(task.shares, models):
            bits = model.scores.predictions
            self._predictions.append({**task.pair._asdict(), "share": share, "says": bits})
            self._bytes += len(bits) + 100
        if self._bytes > PART_BYTES:
            self.flush_predictions()

    def flush_predictions(self) -> None:
        """Write the predictions that are still in memory."""
        if self._predictions:
            name = join("predictions", f"part-{self._parts:05}")
            self._write_table(name, self._predictions, PREDICTIONS)
            self._predictions, self._bytes, self._parts = [], 0, self._parts + 1

    def write_splits(self, splits: TrainTestSplits) -> None:
        """Write splits.parquet."""
        columns = list(zip(*splits.rows()))
        self.folder.write("splits.parquet", parquet(table(dict(zip(SPLITS, columns)), SPLITS)))

    def write_accuracies(self, rows: Sequence[Row]) -> None:
        """Write accuracies.parquet and accuracies.csv."""
        self.folder.write("accuracies.csv", csv(self._write_table("accuracies", rows, ACCURACIES)))

    def write_multiclass(self, rows: Sequence[Row], confusion: Sequence[Row]) -> None:
        """Write multiclass.parquet and confusion.parquet."""
        self._write_table("multiclass", rows, MULTICLASS)
        self._write_table("confusion", confusion, CONFUSION)

    def write_mcnemar(self, rows: Sequence[Row]) -> None:
        """Write mcnemar.parquet."""
        self._write_table("mcnemar", rows, MCNEMAR)

    def write_report(self, study: StudyReport) -> None:
        """Write report.html, and accuracy.png and heatmap.png if matplotlib is installed."""
        self.folder.write("report.html", report.page(study).encode())
        if report.can_plot():
            self.folder.write("accuracy.png", report.curves_png(study.rows))
            accuracies = report.PairAccuracies.of(study.rows)
            if accuracies:
                self.folder.write("heatmap.png", report.heatmap_png(accuracies))

    def _write_table(self, name: str, rows: Sequence[Row], types: Mapping[str, str]) -> Any:
        written = table({column: [row[column] for row in rows] for column in types}, types)
        self.folder.write(f"{name}.parquet", parquet(written))
        return written


def npy(weights: Array) -> bytes:
    """Return an array in numpy's file format."""
    buffer = io.BytesIO()
    np.save(buffer, weights)
    return buffer.getvalue()


def table(columns: Mapping[str, Any], types: Mapping[str, str]) -> Any:
    """Return an Arrow table with these columns and types; None becomes null."""
    import pyarrow as pa

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])
    return pa.table({name: columns.get(name, []) for name in types}, schema=schema)


def parquet(rows: Any) -> bytes:
    """Return a table as a Parquet file."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(rows, buffer)
    return buffer.getvalue()


def csv(rows: Any) -> bytes:
    """Return a table as CSV with a header; null is an empty field."""
    from pyarrow.csv import write_csv

    buffer = io.BytesIO()
    write_csv(rows, buffer)
    return buffer.getvalue()


# ---- reading models ------------------------------------------------------------------------------


def read_model(
    files: HadoopFiles, output: str, pair: ClassPair, share: float | None = None
) -> Array:
    """Read the weights of one model, float64 [d], of a training share or the best one.

    The pair is `ClassPair("pairs", a, b)` or `ClassPair("one-vs-all", a, "all")`.

    Raises:
        JobError: The model was not written.
    """
    folder = [] if share is None else [f"share={share:g}"]
    path = join(output, "models", pair.folder, *folder, "weights.npy")
    if not files.exists(path):
        raise JobError(f"{path}: no such model; set --keep of the svm job")
    weights: Array = np.load(io.BytesIO(files.read(path)))
    return weights


def read_best_models(files: HadoopFiles, output: str, task: str) -> list[tuple[ClassPair, Array]]:
    """Read the best models of a task (`pairs` or `one-vs-all`), sorted by folder."""
    models = []
    for name, _ in sorted(files.list_files(join(output, "models"))):
        if name.endswith("/meta.json"):
            meta = json.loads(files.read(name))
            if meta["task"] == task:
                pair = ClassPair(task, meta["positive"], meta["negative"])
                weights = np.load(io.BytesIO(files.read(name[: -len("meta.json")] + "weights.npy")))
                models.append((pair, weights))
    return models


def to_sklearn(weights: Array, positive: str, negative: str = ALL) -> Any:
    """Return a scikit-learn LinearSVC that predicts `positive` for margins above 0."""
    from sklearn.svm import LinearSVC

    # scikit-learn sorts classes, and predicts the second one for positive margins.
    classes = np.array([negative, positive])
    sign = 1.0
    if positive < negative:
        classes, sign = classes[::-1], -1.0
    model = LinearSVC(fit_intercept=False)
    model.classes_ = classes
    model.coef_ = sign * weights[None]
    model.intercept_ = np.zeros(1)
    model.n_features_in_ = len(weights)
    return model


def to_mllib(weights: Array, loss: str = "hinge") -> Any:
    """Return MLlib's SVMModel or LogisticRegressionModel, which Spark can save and load."""
    from pyspark.mllib.classification import LogisticRegressionModel, SVMModel
    from pyspark.mllib.linalg import DenseVector

    if loss == "hinge":
        return SVMModel(DenseVector(weights), 0.0)
    return LogisticRegressionModel(DenseVector(weights), 0.0, len(weights), 2)
