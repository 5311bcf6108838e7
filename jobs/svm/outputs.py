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
from typing import Any, Callable, NamedTuple

import numpy as np

from common.files import HadoopFiles, join
from common.job import JobError, to_json
from svm import Array, report, scores
from svm.dataset import ALL, ClassPair, TrainingTask, TrainTestSplits
from svm.report import StudyReport
from svm.scores import Row, TrainedModel

ModelKey = tuple[str, str, str, float]  # task, positive, negative, share
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
    "method": "string", "share": "float64", "label": "string", "predicted": "string", "n": "int64",
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
        self.folder.write(path, file_bytes(lambda file: np.save(file, weights)))

    def write_best_model(self, pair: ClassPair, weights: Array, meta: Row) -> None:
        """Write the best model of a pair and its description, beside the folders of its shares."""
        folder = join("models", pair.folder)
        content = file_bytes(lambda file: np.save(file, weights))
        self.folder.write(join(folder, "weights.npy"), content)
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
        self._write_table("splits", [dict(zip(SPLITS, row)) for row in splits.rows()], SPLITS)

    def write_accuracies(self, rows: Sequence[Row]) -> None:
        """Write accuracies.parquet and accuracies.csv."""
        from pyarrow.csv import write_csv

        table = self._write_table("accuracies", rows, ACCURACIES)
        self.folder.write("accuracies.csv", file_bytes(lambda file: write_csv(table, file)))

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
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([(column, pa.type_for_alias(kind)) for column, kind in types.items()])
        table = pa.Table.from_pylist(list(rows), schema)
        self.folder.write(f"{name}.parquet", file_bytes(lambda file: pq.write_table(table, file)))
        return table


def file_bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    """Return what a function writes to a file."""
    buffer = io.BytesIO()
    write(buffer)
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


class MulticlassModel(NamedTuple):
    """Binary models that together classify among all classes."""

    classes: list[str]  # sorted class names
    weights: Array  # float64 [models, d]
    sides: Array  # class numbers of each model, [models, 2]; -1: all others

    @classmethod
    def of(cls, models: Sequence[tuple[ClassPair, Array]]) -> MulticlassModel:
        """Combine the models of all pairs, or of each class against all others.

        Raises:
            JobError: Some models are missing.
        """
        pairwise = any(pair.task == "pairs" for pair, _ in models)
        names = [
            (pair.positive, pair.negative) if pairwise else (pair.positive,) for pair, _ in models
        ]
        classes = sorted({name for pair in names for name in pair})
        task = "pairs" if pairwise else "one-vs-all"
        needed = max(scores.complete_models(task, len(classes)), 1)
        if len(models) < needed or len(classes) < 2:
            raise JobError(f"{len(models)} models for {len(classes)} classes: {needed} are needed")
        number = {name: index for index, name in enumerate(classes)}
        sides = [
            (number[pair.positive], number[pair.negative] if pairwise else -1) for pair, _ in models
        ]
        return cls(classes, np.stack([weights for _, weights in models]), np.array(sides))

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Return class numbers of rows [n, d], and their margins (voting: the mean over pairs)."""
        predicted = scores.predict(rows, (self.weights, self.sides), len(self.classes))
        margins = rows @ self.weights.T
        first, second = (self.sides[:, side] == predicted[:, None] for side in (0, 1))
        own = (margins * first - margins * second).sum(axis=1)
        return predicted, own / (first | second).sum(axis=1)


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


# ---- comparison with an earlier run --------------------------------------------------------------


class ReferenceRun:
    """Splits and predictions of an earlier run of the svm job."""

    def __init__(self, files: HadoopFiles, output: str) -> None:
        """Read the output of the run.

        Raises:
            JobError: It has no splits or no predictions.
        """
        splits = join(output, "splits.parquet")
        if not files.exists(splits) or not files.exists(join(output, "predictions")):
            raise JobError(f"--against {output}: not the --output of a run with --predictions")
        self._files = files
        self._output = output
        self._u = {(row["path"], row["label"]): row["u"] for row in read_table(files, splits)}
        self._predictions = read_predictions(files, output)

    def check(self, splits: TrainTestSplits) -> None:
        """Check that both runs have the same splits.

        Raises:
            JobError: The runs have different seeds, classes or rows.
        """
        if {(path, label): u for path, label, _, u in splits.rows()} != self._u:
            raise JobError(f"--against {self._output}: rows, classes or seed differ from this run")

    def compare(self, output: str, splits: TrainTestSplits) -> list[Row]:
        """Return the rows of mcnemar.parquet: the models that both runs have."""
        return [
            compare_model(key, predictions, self._predictions[key], splits)
            for key, predictions in read_predictions(self._files, output).items()
            if key in self._predictions
        ]


def read_predictions(files: HadoopFiles, output: str) -> dict[ModelKey, bytes]:
    """Return the predictions of all models of a run, a bit for each row."""
    return {
        (row["task"], row["positive"], row["negative"], row["share"]): row["says"]
        for name, _ in sorted(files.list_files(join(output, "predictions")))
        for row in read_table(files, name)
    }


def read_table(files: HadoopFiles, path: str) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(files.read(path))).to_pylist()
    return rows


def compare_model(key: ModelKey, this: bytes, reference: bytes, splits: TrainTestSplits) -> Row:
    """Return a row of mcnemar.parquet."""
    task, positive, negative, share = key
    rows = splits.pair_rows(ClassPair(task, positive, negative))
    actual = np.array([label == positive for _, label, _ in rows])
    tests = np.array([u >= share for _, _, u in rows])
    correct, reference_correct = (
        (np.unpackbits(np.frombuffer(bits, np.uint8), count=len(rows)) == actual)[tests]
        for bits in (this, reference)
    )
    only_this = int((correct & ~reference_correct).sum())
    only_reference = int((reference_correct & ~correct).sum())
    return {
        "task": task,
        "positive": positive,
        "negative": negative,
        "share": share,
        "n_test": int(tests.sum()),
        "n_correct": int(correct.sum()),
        "n_correct_against": int(reference_correct.sum()),
        "only_this": only_this,
        "only_against": only_reference,
        "p": mcnemar_p(only_this, only_reference),
    }


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the two-sided p of McNemar's exact test, of rows that only one model has right."""
    from scipy.stats import binomtest

    n = only_first + only_second
    return float(binomtest(only_first, n).pvalue) if n else 1.0
