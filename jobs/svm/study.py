"""Train linear SVMs: class against class, and one class against all others.

--features is the --output of the features job (or its folder `features`): Parquet with path, label
and features, or one JSON list of numbers for each picture (`<class>_<n>.jpg.json`).

Solver `mllib` is Spark MLlib's SVMWithSGD, one model after another. `gram` computes the same models
(weights within 1e-9 of MLlib's) hundreds of times faster: each task receives the rows of some
classes and trains all of their pairs.

A share is the part of the rows that trains. Each row has a random number u from 0 to 1.

Output, below --output:
  accuracies.parquet, accuracies.csv  a row for each model (columns: `outputs.ACCURACIES`)
  multiclass.parquet, confusion.parquet     among all classes: by one-vs-all, by pairwise voting
  splits.parquet                      path, label, seed, u: a row trains if u < share
  models/<a>_VS_<b>/share=<s>/weights.npy   float64, no intercept; b is `all` for one-vs-all
  models/<a>_VS_<b>/weights.npy, meta.json  best of the pair: highest accuracy, then smallest share
  predictions/                        with --predictions: predictions of every model, in bits
  mcnemar.parquet                     with --against: McNemar's test against that run
  accuracy.png, heatmap.png, report.html, log.txt, result.json
`outputs` reads models for numpy, scikit-learn and MLlib.
A model that cannot be trained, because a class has no training rows at its share, has a row without
accuracy; result.json has the reason.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from typing import Any

from pyspark.sql import SparkSession

from common import job
from common.files import HadoopFiles
from common.job import JobError, JobLog
from svm import arguments, feature_files, gram_solver, outputs, report, scores, solvers
from svm.dataset import (
    ClassPair,
    Dataset,
    LoadedFeatures,
    TrainingTask,
    TrainTestSplits,
    class_pairs,
    scale_columns,
)
from svm.outputs import ReferenceRun, StudyWriter
from svm.report import HardestPairs, StudyReport
from svm.scores import MulticlassScorer, Row, TrainedModel, best_of, mean
from svm.solvers import Solved, SolverSettings

MAX_MODEL_LINES = 500  # with more models, the log has a line for each pair instead


class SvmStudy:
    """Trains, scores and writes all requested models. Rows have a fixed order."""

    def __init__(
        self, args: argparse.Namespace, data: Dataset, log: JobLog, writer: StudyWriter
    ) -> None:
        self._args = args
        self._data = data
        self._log = log
        self._writer = writer
        self.rows: dict[tuple[ClassPair, float], Row] = {}
        self.notes: list[Row] = []
        self.confusions: dict[tuple[str, float], Any] = {}
        self.hardest = HardestPairs(data.splits)

    def run(self, pairs: list[ClassPair]) -> None:
        """Train, score and write all models, then score classification among all classes."""
        log = self._log
        with log.step("plan"):
            tasks = self._plan(pairs)
        scorer = self._multiclass_scorer(tasks)
        solved = self._train(tasks, multiclass=bool(scorer.tasks))
        while True:
            with log.step("train", repeated=True):
                task_models = next(solved, None)
            if task_models is None:
                break
            with log.step("predict", repeated=True):
                self._record(*task_models)
            with log.step("export", repeated=True):
                self._write_models(*task_models)
            scorer.add(*task_models)
        with log.step("predict", repeated=True):
            self.confusions = scorer.confusions(self._data)
            classes = len(self._data.splits.u)
            for row in self.multiclass():
                log.write(
                    f"{classes} classes by {row['method']} share={row['share']:g}: "
                    f"accuracy {row['accuracy']:.4f}, majority {row['majority_baseline']:.4f}"
                )

    def _train(self, tasks: list[TrainingTask], *, multiclass: bool) -> Solved:
        args = self._args
        descent = arguments.descent_settings(args)
        if args.solver == "mllib":
            return solvers.train_by_mllib(self._data, tasks, descent)
        memory_mb = args.python_memory_mb
        memory_bytes = memory_mb << 20 if memory_mb else None
        settings = SolverSettings(descent, args.keep, multiclass, args.predictions, memory_bytes)
        return gram_solver.train(self._data, tasks, settings, self._log.write)

    def multiclass(self) -> list[Row]:
        """Return the rows of multiclass.parquet."""
        return scores.multiclass_rows(self.confusions, self._args.seed, self._args.solver)

    def _plan(self, pairs: list[ClassPair]) -> list[TrainingTask]:
        """Add a row for every model. Return tasks with the shares that can be trained."""
        tasks = []
        for pair in pairs:
            shares = tuple(share for share in self._args.shares if self._add_row(pair, share))
            if shares:
                tasks.append(TrainingTask(pair, shares))
        return tasks

    def _add_row(self, pair: ClassPair, share: float) -> bool:
        """Add the row of a model, and a note if rows are missing. Return whether it can train."""
        positive, negative, *test = self._data.splits.sizes(pair, share)
        row = {**dict.fromkeys(outputs.ACCURACIES), **pair._asdict(), "share": share}
        row.update(seed=self._args.seed, solver=self._args.solver)
        row.update(n_train=positive + negative, n_test=sum(test))
        self.rows[pair, share] = row
        if not positive or not negative:
            missing = pair.negative if positive else pair.positive
            self._add_note(pair, share, f"not trained: no rows of {missing} to train on")
        elif not all(test):
            missing = pair.negative if test[0] else pair.positive
            self._add_note(pair, share, f"no rows of {missing} to test on")
        return bool(positive and negative)

    def _add_note(self, pair: ClassPair, share: float, text: str) -> None:
        self.notes.append({**pair._asdict(), "share": share, "note": text})
        self._log.write(f"{pair} share={share:g}: {text}")

    def _multiclass_scorer(self, tasks: list[TrainingTask]) -> MulticlassScorer:
        classes = list(self._data.splits.u)
        reasons = scores.obstacles(tasks, len(classes), self._data.dimension)
        for name, reason in reasons.items():
            if reason:
                self._log.write(f"{name}: no classification among all classes: {reason}")
        return MulticlassScorer(classes, [name for name in reasons if not reasons[name]])

    def _record(self, task: TrainingTask, models: list[TrainedModel]) -> None:
        """Complete the rows of a task, and log them."""
        for share, model in zip(task.shares, models):
            row = self.rows[task.pair, share]
            row.update(scores.figures(model.scores.counts, model.scores.auc))
            row.update(iterations_run=model.iterations_run, train_s=model.train_s)
            if len(self.rows) <= MAX_MODEL_LINES:
                accuracy = row["accuracy"]
                outcome = "no test rows" if accuracy is None else f"accuracy {accuracy:.4f}"
                times = f"{model.iterations_run} iterations in {model.train_s:.3f} s"
                self._log.write(f"{task.pair} share={share:g}: {outcome}, {times}")
        best = best_of(self.rows[task.pair, share] for share in task.shares)
        if best:
            self.hardest.add(task, models, best)
            if len(self.rows) > MAX_MODEL_LINES:
                outcome = f"best accuracy {best['accuracy']:.4f} at share={best['share']:g}"
                train_s = sum(model.train_s for model in models)
                self._log.write(f"{task.pair}: {len(models)} models in {train_s:.3f} s, {outcome}")

    def _write_models(self, task: TrainingTask, models: list[TrainedModel]) -> None:
        if self._args.predictions:
            self._writer.add_predictions(task, models)
        if self._args.keep == "none":
            return
        best = best_of([self.rows[task.pair, share] for share in task.shares])
        for share, model in zip(task.shares, models):
            is_best = best is not None and share == best["share"]
            if model.weights is None or not (is_best or self._args.keep == "all"):
                continue
            weights = self._data.unscaled(model.weights)
            self._writer.write_model(task.pair, share, weights)
            if best and is_best:
                self._writer.write_best_model(task.pair, weights, self._meta(best))

    def _meta(self, best: Row) -> Row:
        names = ("iterations", "step", "reg", "loss", "class_weights", "scale", "average")
        settings = {name: getattr(self._args, name) for name in names}
        return {**best, "dimension": self._data.dimension, "settings": settings}


# ---- the job -------------------------------------------------------------------------------------


def train_svms(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Load features, train the models, and write all files."""
    files = HadoopFiles(spark)
    reference = ReferenceRun(files, args.against) if args.against else None
    data = load(args, spark, files, log)
    if reference:
        reference.check(data.splits)
    writer = StudyWriter(files, args.output)
    study = SvmStudy(args, data, log, writer)
    with writer.folder:
        writer.clear()
        study.run(class_pairs(list(data.splits.u), args.task, args.one))
        data.release()
        with log.step("export", repeated=True):
            write_tables(args, study, data, writer)
    if reference:
        with log.step("compare"):
            compare(reference, files, args.output, data.splits, log)
    figures = figures_of(study, data)
    log.write(f"{figures['models']} models, mean accuracy {figures['mean_accuracy']}")
    log.write_result(files, args, figures, log_file=True)


def load(args: argparse.Namespace, spark: SparkSession, files: HadoopFiles, log: JobLog) -> Dataset:
    """Find, load and split the features of the requested classes."""
    partitions = job.partitions(spark, args.partitions)
    with log.step("find"):
        source = feature_files.find(spark, files, args.features, partitions)
        extraction = feature_files.extraction_result(files, args.features)
    with log.step("load"):
        classes = arguments.requested_classes(args.classes, args.one)
        fixed_partitions = partitions if args.solver == "mllib" else None
        loaded = LoadedFeatures.read(source, classes, args.scale, fixed_partitions)
    with log.step("split"):
        splits = split(args, loaded)
    data = loaded.dataset(splits)
    if args.scale == "columns":
        with log.step("scale"):
            data = scale_columns(data, min(args.shares))
    extractor = extraction.get("figures", {}).get("extractor")
    pictures = args.pictures or extraction.get("arguments", {}).get("input")
    return replace(data, extractor=extractor, pictures=pictures)


def split(args: argparse.Namespace, loaded: LoadedFeatures) -> TrainTestSplits:
    """Split the rows of the requested classes.

    Raises:
        JobError: The features are invalid, or a class does not exist.
    """
    errors = [summary.error for summary in loaded.summaries if summary.error]
    if errors:
        raise JobError(min(errors))
    rows = loaded.labelled_paths()
    feature_files.check_rows(args.features, rows)
    available = sorted({label for _, label in rows})
    classes = arguments.select_classes(available, args.classes, args.one)
    problem = loaded.problem(classes)
    if problem:
        raise JobError(f"--features {args.features}: {problem}")
    return TrainTestSplits.of((row for row in rows if row[1] in classes), args.seed)


def write_tables(
    args: argparse.Namespace, study: SvmStudy, data: Dataset, writer: StudyWriter
) -> None:
    """Write all files except models, result.json and log.txt."""
    rows, multiclass = list(study.rows.values()), study.multiclass()
    hardest = study.hardest.rows()
    shown = report.shown_pictures(hardest)
    thumbnails = report.thumbnails(writer.files, data.pictures, shown)
    writer.flush_predictions()
    writer.write_splits(data.splits)
    writer.write_accuracies(rows)
    writer.write_multiclass(
        multiclass, scores.confusion_rows(study.confusions, list(data.splits.u))
    )
    writer.write_report(StudyReport(about(args, data), rows, multiclass, hardest, thumbnails))


def about(args: argparse.Namespace, data: Dataset) -> list[tuple[str, str]]:
    """Return names and values that describe the study, for the report."""
    paths = data.splits.u
    extensions = ("loss", "class_weights", "scale", "average", "precision")
    options = ", ".join(f"{name} {getattr(args, name)}" for name in extensions)
    return [
        ("features", args.features),
        ("extractor", ", ".join(f"{name} {v}" for name, v in (data.extractor or {}).items())),
        ("rows", f"{sum(map(len, paths.values()))} of {len(paths)} classes"),
        ("dimension", str(data.dimension)),
        ("solver", f"{args.solver}, {options}"),
        ("descent", f"{args.iterations} iterations, step {args.step}, reg {args.reg}"),
        ("splits", f"seed {args.seed}; rows that do not train are test rows"),
    ]


def compare(
    reference: ReferenceRun, files: HadoopFiles, output: str, splits: TrainTestSplits, log: JobLog
) -> None:
    """Write mcnemar.parquet, and log how many models differ."""
    rows = reference.compare(output, splits)
    writer = StudyWriter(files, output)
    with writer.folder:
        writer.write_mcnemar(rows)
    different = [row for row in rows if row["p"] < 0.05]
    better = sum(row["only_this"] > row["only_against"] for row in different)
    log.write(
        f"McNemar: {len(different)} of {len(rows)} models differ at p < 0.05 (5 % would by "
        f"chance), {better} of them are better"
    )


def figures_of(study: SvmStudy, data: Dataset) -> dict[str, Any]:
    """Return the figures of result.json, over all models and by task."""
    rows = list(study.rows.values())
    names = sorted({row["task"] for row in rows})
    tasks = {name: task_figures([row for row in rows if row["task"] == name]) for name in names}
    return {
        "classes": {label: len(paths) for label, paths in data.splits.u.items()},
        "rows": sum(map(len, data.splits.u.values())),
        "dimension": data.dimension,
        "partitions": data.blocks.getNumPartitions(),
        "models": sum(task["models"] for task in tasks.values()),
        "mean_accuracy": mean(rows, "accuracy"),
        "tasks": tasks,
        "multiclass": study.multiclass(),
        "best": best_of(rows),
        "notes": study.notes,
        "extractor": data.extractor,
    }


def task_figures(rows: list[Row]) -> Row:
    """Return the figures of the models of one task."""
    tested = [row for row in rows if row["accuracy"] is not None]
    names = ("accuracy", "balanced_accuracy", "majority_baseline", "roc_auc", "f1")
    return {
        "models": sum(row["train_s"] is not None for row in rows),
        **{f"mean_{name}": mean(rows, name) for name in names},
        "n_correct": sum(row["n_correct"] for row in tested),
        "n_test": sum(row["n_test"] for row in tested),
    }


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the arguments or the input."""
    args = arguments.parse(argv)
    modules = ("numpy", "pandas", "pyarrow", "scipy", "threadpoolctl")
    return job.run_job("svm", modules, partial(train_svms, args))
