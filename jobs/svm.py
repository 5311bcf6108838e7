"""Linear SVMs on feature vectors: one class against another, and one against all the others.

svm.py --features PATH --output PATH --task pairs|one-vs-all|both [--classes a,b,c | all]
       [--one NAME] --shares 0.1,0.2 [--seed N] [--solver mllib|gram] [--iterations 100]
       [--step 1.0] [--reg 0.01] [--keep best|all|none] [--partitions N]
       [--loss hinge|logistic] [--class-weights none|balanced] [--scale none|rows|columns]
       [--average] [--precision float64|float32] [--predictions] [--against PATH]
       [--pictures PATH]

PATH is what the features job wrote (its --output, or the folder `features` in it): Parquet with
path, label and features, or one JSON list of numbers for each picture (`<class>_<n>.jpg.json`).

`mllib` is Spark MLlib's SVMWithSGD, model after model: the lecture's way, and the measure of all
others. `gram` makes the same models (to 1e-9 of MLlib's weights) hundreds of times faster.

Writes, below --output:
  accuracies.parquet, accuracies.csv  a row for each model (columns: `ACCURACIES`)
  multiclass.parquet, confusion.parquet     which of all classes: by one-vs-all, by pairwise voting
  splits.parquet                      path, label, seed, u: a row trains when u < share
  models/<a>_VS_<b>/share=<s>/weights.npy   float64, no intercept; b is `all` for one-vs-all
  models/<a>_VS_<b>/weights.npy, meta.json  the best of the pair: highest accuracy, then least data
  predictions/                        with --predictions: every model's answers, in bits
  mcnemar.parquet                     with --against: this run's models beside that one's
  accuracy.png, heatmap.png, report.html, log.txt, result.json
`_models.py` loads models into numpy, scikit-learn and MLlib.
A model that cannot be trained (its share leaves a class without rows) keeps its row, with no
accuracy, and its reason is in result.json.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

import _album
import _arguments
import _common
import _descent
import _gram
import _learning
import _mcnemar
import _multiclass
import _outputs
import _pieces
import _plan
import _report
import _scores
import _solvers
import _sources
import _spread
import _tiles
from _common import Files, JobError, Steps
from _learning import Data, Group, Loaded, Splits
from _outputs import Writer
from _scores import Row, best_of, mean
from _solvers import Fit, Mllib, Solver, Task, Wanted
from pyspark.sql import SparkSession

SOLVERS: dict[str, type[Solver]] = {"gram": _gram.Gram, "mllib": Mllib}
TALKATIVE = 500  # models: with more, the log has a line for a group instead of one for each

# ---- the study -----------------------------------------------------------------------------------


class Study:
    """All models asked for: trained, scored, written as they come, their rows in a fixed order."""

    def __init__(self, args: argparse.Namespace, data: Data, steps: Steps, writer: Writer) -> None:
        self._args = args
        self._data = data
        self._steps = steps
        self._writer = writer
        self.rows: dict[tuple[Group, float], Row] = {}
        self.notes: list[Row] = []
        self.confusions: dict[tuple[str, float], Any] = {}
        self.hardest = _report.Hardest(data.splits)

    def plan(self, groups: list[Group]) -> list[Task]:
        """Tasks with the shares that can train; a row, and maybe a note, for every model."""
        tasks = []
        for group in groups:
            fit = tuple(share for share in self._args.shares if self._admit(group, share))
            if fit:
                tasks.append(Task(group, fit))
        return tasks

    def _admit(self, group: Group, share: float) -> bool:
        positive, negative, *test = self._data.splits.sizes(group, share)
        row = {**dict.fromkeys(_outputs.ACCURACIES), **group._asdict(), "share": share}
        row.update(seed=self._args.seed, solver=self._args.solver)
        row.update(n_train=positive + negative, n_test=sum(test))
        self.rows[group, share] = row
        if not positive or not negative:
            lacking = group.positive if not positive else group.negative
            self._note(group, share, f"not trained: no rows of {lacking} to train on")
        elif not all(test):
            lacking = group.positive if not test[0] else group.negative
            self._note(group, share, f"no rows of {lacking} to test on")
        return bool(positive and negative)

    def _note(self, group: Group, share: float, text: str) -> None:
        self.notes.append({**group._asdict(), "share": share, "note": text})
        self._steps.say(f"{group} share={share:g}: {text}")

    def run(self, groups: list[Group]) -> None:
        """Train and score, write as they come, then let all models say a class together."""
        with self._steps.step("plan"):
            tasks = self.plan(groups)
        ballot = self._ballot(tasks)
        solved = self._solver(bool(ballot.names)).solve(
            self._data, tasks, _arguments.settings_of(self._args)
        )
        while True:
            with self._steps.step("train", tell=False):
                done = next(solved, None)
            if done is None:
                break
            self._take(*done)
            ballot.add(*done)
        with self._steps.step("predict", tell=False):
            self.confusions = ballot.confusions(self._data)
            self._tell_classes()

    def about(self) -> list[tuple[str, str]]:
        """What the study is of, in words."""
        args, paths = self._args, self._data.splits.u
        made = self._data.extractor or {}
        better = ("loss", "class_weights", "scale", "average", "precision")
        return [
            ("features", args.features),
            ("made by", ", ".join(f"{name} {value}" for name, value in made.items())),
            ("rows", f"{sum(map(len, paths.values()))} of {len(paths)} classes"),
            ("dimension", str(self._data.dimension)),
            ("solver", f"{args.solver}, {', '.join(f'{n} {getattr(args, n)}' for n in better)}"),
            ("descent", f"{args.iterations} iterations, step {args.step}, reg {args.reg}"),
            ("splits", f"by seed {args.seed}; what does not train is tested"),
        ]

    def _solver(self, voters: bool) -> Solver:
        memory = self._args.python_memory_mb
        wanted = Wanted(
            keep=self._args.keep,
            voters=voters,
            says=self._args.predictions,
            memory_bytes=memory << 20 if memory else None,
        )
        return SOLVERS[self._args.solver](wanted, self._steps.say)

    def _ballot(self, tasks: list[Task]) -> _multiclass.Ballot:
        classes = list(self._data.splits.u)
        reasons = _multiclass.wanted(tasks, len(classes), self._data.dimension)
        for name, reason in reasons.items():
            if reason:
                self._steps.say(f"{name}: no class said of all: {reason}")
        return _multiclass.Ballot(classes, [name for name in reasons if not reasons[name]])

    def _take(self, task: Task, fits: list[Fit]) -> None:
        with self._steps.step("predict", tell=False):
            self._record(task, fits)
        with self._steps.step("export", tell=False):
            self._keep(task, fits)

    def _record(self, task: Task, fits: list[Fit]) -> None:
        for share, fit in zip(task.shares, fits):
            row = self.rows[task.group, share]
            row.update(_scores.figures(fit.scores.counts, fit.scores.auc))
            row.update(iterations_run=fit.iterations_run, train_s=fit.train_s)
            if len(self.rows) <= TALKATIVE:
                told = "no test" if row["accuracy"] is None else f"accuracy {row['accuracy']:.4f}"
                times = f"{fit.iterations_run} iterations in {fit.train_s:.3f} s"
                self._steps.say(f"{task.group} share={share:g}: {told}, {times}")
        best = best_of(self.rows[task.group, share] for share in task.shares)
        if best:
            self.hardest.add(task, fits, best)
            if len(self.rows) > TALKATIVE:
                told = f"best accuracy {best['accuracy']:.4f} at share={best['share']:g}"
                took = sum(fit.train_s for fit in fits)
                self._steps.say(f"{task.group}: {len(fits)} models in {took:.3f} s, {told}")

    def _keep(self, task: Task, fits: list[Fit]) -> None:
        if self._args.predictions:
            self._writer.says(task, fits)
        if self._args.keep == "none":
            return
        best = best_of([self.rows[task.group, share] for share in task.shares])
        for share, fit in zip(task.shares, fits):
            is_best = best is not None and share == best["share"]
            if fit.weights is None or not (is_best or self._args.keep == "all"):
                continue
            weights = self._data.unscaled(fit.weights)
            self._writer.weights(task.group, share, weights)
            if best and is_best:
                self._writer.best(task.group, weights, self._meta(best))

    def _meta(self, best: Row) -> Row:
        names = ("iterations", "step", "reg", "loss", "class_weights", "scale", "average")
        settings = {name: getattr(self._args, name) for name in names}
        return {**best, "dimension": self._data.dimension, "settings": settings}

    def _tell_classes(self) -> None:
        classes = len(self._data.splits.u)
        for row in self.multiclass():
            told = f"accuracy {row['accuracy']:.4f}, majority {row['majority_baseline']:.4f}"
            self._steps.say(f"{classes} classes by {row['method']} share={row['share']:g}: {told}")

    def multiclass(self) -> list[Row]:
        """Rows of multiclass.parquet: those shares that leave something to test."""
        rows = _multiclass.rows_of(self.confusions, self._args.seed, self._args.solver)
        return [row for row in rows if row["accuracy"] is not None]


def task_figures(rows: list[Row]) -> Row:
    """Headline figures of the models of one task."""
    tested = [row for row in rows if row["accuracy"] is not None]
    names = ("accuracy", "balanced_accuracy", "majority_baseline", "roc_auc", "f1")
    return {
        "models": sum(row["train_s"] is not None for row in rows),
        **{f"mean_{name}": mean(rows, name) for name in names},
        "n_correct": sum(row["n_correct"] for row in tested),
        "n_test": sum(row["n_test"] for row in tested),
    }


def figures_of(study: Study, data: Data, partitions: int) -> dict[str, Any]:
    """Headline figures of result.json, over all models and by task."""
    rows = list(study.rows.values())
    names = sorted({row["task"] for row in rows})
    tasks = {name: task_figures([row for row in rows if row["task"] == name]) for name in names}
    return {
        "classes": {label: len(paths) for label, paths in data.splits.u.items()},
        "rows": sum(map(len, data.splits.u.values())),
        "dimension": data.dimension,
        "partitions": partitions,
        "models": sum(task["models"] for task in tasks.values()),
        "mean_accuracy": mean(rows, "accuracy"),
        "tasks": tasks,
        "multiclass": study.multiclass(),
        "best": best_of(rows),
        "notes": study.notes,
        "extractor": data.extractor,
    }


def prepare(args: argparse.Namespace, spark: SparkSession, files: Files, steps: Steps) -> Data:
    """Find, split and load the features of the classes that take part."""
    partitions = _common.partitions(spark, args.partitions)
    with steps.step("find"):
        source = _sources.find(spark, files, args.features, partitions)
        made = _sources.made_by(files, args.features) or {}
    with steps.step("load"):
        layout = _learning.Layout(partitions, SOLVERS[args.solver].fixed, args.scale)
        loaded = _learning.Loaded.of(source, _arguments.asked(args.classes, args.one), layout)
    with steps.step("split"):
        splits = split(args, loaded)
    data = loaded.data(splits)
    if args.scale == "columns":
        with steps.step("scale"):
            data = _learning.by_columns(data, min(args.shares))
    pictures = args.pictures or made.get("arguments", {}).get("input")
    return replace(data, extractor=made.get("figures", {}).get("extractor"), pictures=pictures)


def split(args: argparse.Namespace, loaded: Loaded) -> Splits:
    """Where each row of the classes that take part stands.

    Raises:
        JobError: What was read will not do.
    """
    wrong = [seen.wrong for seen in loaded.seen if seen.wrong]
    if wrong:
        raise JobError(min(wrong))
    rows = loaded.rows()
    _sources.check(args.features, rows)
    known = sorted({label for _, label in rows})
    classes = _arguments.chosen(known, args.classes, args.one)
    problems = loaded.problems(classes)
    if problems:
        raise JobError(f"--features {args.features}: {problems[0]}")
    return Splits.of((row for row in rows if row[1] in classes), args.seed)


def work(args: argparse.Namespace, spark: SparkSession, steps: Steps) -> None:
    """Load, train, predict, write, report."""
    modules = (_common, _descent, _gram, _learning, _multiclass, _pieces, _plan, _scores)
    _common.ship(spark, *modules, _solvers, _sources, _spread, _tiles)
    files = Files(spark)
    earlier = _mcnemar.Earlier(files, args.against) if args.against else None
    data = prepare(args, spark, files, steps)
    if earlier:
        earlier.check(data.splits)
    writer = Writer(files, args.output)
    study = Study(args, data, steps, writer)
    with writer.folder:
        writer.clear()
        study.run(_learning.groups(list(data.splits.u), args.task, args.one))
        data.release()
        with steps.step("export", tell=False):
            export(study, data, writer, _album.Album(files, data.pictures))
    if earlier:
        with steps.step("compare"), files.folder(args.output) as folder:
            rows = earlier.compared(args.output, data.splits)
            steps.say(_outputs.write_mcnemar(folder, rows))
    figures = figures_of(study, data, data.blocks.getNumPartitions())
    steps.say(f"{figures['models']} models, mean accuracy {figures['mean_accuracy']}")
    steps.finish(files, args, figures, log=True)


def export(study: Study, data: Data, writer: Writer, album: _album.Album) -> None:
    """Everything but the models and the log."""
    rows = list(study.rows.values())
    hardest = study.hardest.told()
    copies = album.copies([path for row in hardest for path in _report.shown(row)])
    multiclass = study.multiclass()
    writer.end_answers()
    writer.splits(data.splits)
    writer.accuracies(rows)
    writer.classes(multiclass, _multiclass.cells_of(study.confusions, list(data.splits.u)))
    writer.report(_report.Report(study.about(), rows, multiclass, hardest, copies))


def main(argv: list[str] | None = None) -> int:
    """Run the job; 0, or 2 when its arguments or its input are at fault."""
    args = _arguments.parse(argv)
    steps = Steps("svm")

    def body() -> None:
        _common.require("numpy", "pandas", "pyarrow", "threadpoolctl")
        with _common.session() as spark:
            work(args, spark, steps)

    return _common.run("svm", body)


if __name__ == "__main__":
    sys.exit(main())
