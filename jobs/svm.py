"""Linear SVMs on feature vectors: one class against another, and one against all the others.

svm.py --features PATH --output PATH --task pairs|one-vs-all|both [--classes a,b,c | all]
       [--one NAME] --shares 0.1,0.2 [--seed N] [--solver mllib] [--iterations 100] [--step 1.0]
       [--reg 0.01] [--keep best|all|none] [--partitions N]

PATH is what the features job wrote (its --output, or the folder `features` in it): Parquet with
path, label and features, or one JSON list of numbers for each picture (`<class>_<n>.jpg.json`).

Writes, below --output:
  accuracies.parquet, accuracies.csv  a row for each model (columns: `ACCURACIES`)
  splits.parquet                      path, label, seed, u: a row trains when u < share
  models/<a>_VS_<b>/share=<s>/weights.npy   float64, no intercept; b is `all` for one-vs-all
  models/<a>_VS_<b>/weights.npy, meta.json  the best of the pair: highest accuracy, then least data
  accuracy.png, log.txt, result.json
A model that cannot be trained (its share leaves a class without rows) keeps its row, with no
accuracy, and its reason is in result.json.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from typing import Any

import _common
import _learning
import _outputs
import _solvers
import _sources
import numpy as np
from _common import Files, JobError, Steps
from _learning import Data, Group, Splits
from _outputs import Writer
from _solvers import SOLVERS, Fit, Settings, Task
from pyspark.sql import SparkSession

Row = dict[str, Any]


# ---- arguments -----------------------------------------------------------------------------------


def shares(text: str) -> tuple[float, ...]:
    """An argparse type: training shares, rising, each once."""
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list like 0.1,0.2") from None
    wrong = [value for value in values if not 0 < value < 1]
    if wrong:
        raise argparse.ArgumentTypeError(f"share {wrong[0]:g} is not between 0 and 1")
    return tuple(values)


def number_above(least: float, *, itself: bool) -> Any:
    """An argparse type: a finite number above `least`, or at least that."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
        if not math.isfinite(value) or value < least or (value == least and not itself):
            bound = "at least" if itself else "above"
            raise argparse.ArgumentTypeError(f"{text} is not {bound} {least:g}")
        return value

    return number


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, checked as far as that goes without the data."""
    parser = _common.parser("svm", "Linear SVMs: class against class, and one against all.")
    add = parser.add_argument
    add("--features", required=True, metavar="PATH", help="Parquet or JSON features")
    add("--task", required=True, choices=("pairs", "one-vs-all", "both"))
    add("--classes", default="all", metavar="a,b,c|all", help="classes that take part")
    add("--one", metavar="NAME", help="only this class: against each other, and against all")
    add("--shares", required=True, type=shares, metavar="0.1,0.2", help="shares that train")
    add("--seed", type=int, default=0, metavar="N", help="of the splits (default: 0)")
    add("--solver", choices=sorted(SOLVERS), default="mllib")
    add("--iterations", type=_common.positive_int, default=100, metavar="N")
    add("--step", type=number_above(0, itself=False), default=1.0, metavar="X")
    add("--reg", type=number_above(0, itself=True), default=0.01, metavar="X", help="L2 weight")
    add("--keep", choices=("best", "all", "none"), default="best", help="models to write")
    return parser.parse_args(argv)


def chosen(known: list[str], asked: str, one: str | None) -> list[str]:
    """The classes that take part: those of --classes, with --one added, all of them known.

    Raises:
        JobError: A name is not among the data's, or fewer than two classes are left.
    """
    names = known if asked == "all" else [name.strip() for name in asked.split(",") if name.strip()]
    wanted = sorted({*names, *([one] if one else [])})
    for name in wanted:
        if name not in known:
            few = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
            near = _common.nearest(name, known)
            raise JobError(f"no class '{name}' among the {len(known)} there ({few}){near}")
    if len(wanted) < 2:
        raise JobError(f"one class alone ({', '.join(wanted)}) leaves nothing to learn")
    return wanted


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
        """Train, predict and write, group after group."""
        args = self._args
        settings = Settings(args.iterations, args.step, args.reg)
        solved = SOLVERS[args.solver]().solve(self._data, self.plan(groups), settings)
        while True:
            with self._steps.step("train", tell=False):
                done = next(solved, None)
            if done is None:
                return
            task, fits = done
            with self._steps.step("predict", tell=False):
                self._score(task, fits)
            with self._steps.step("export", tell=False):
                self._keep(task, fits)

    def _score(self, task: Task, fits: list[Fit]) -> None:
        weights = np.stack([fit.weights for fit in fits], axis=1)
        blocks = self._data.of(task.group)
        counts = _learning.score(blocks, task.group, task.shares, weights)
        for share, fit, count in zip(task.shares, fits, counts):
            row = self.rows[task.group, share]
            row.update(_learning.figures(count))
            row.update(iterations_run=fit.iterations_run, train_s=fit.train_s)
            told = "no test" if row["accuracy"] is None else f"accuracy {row['accuracy']:.4f}"
            times = f"{fit.iterations_run} iterations in {fit.train_s:.3f} s"
            self._steps.say(f"{task.group} share={share:g}: {told}, {times}")

    def _keep(self, task: Task, fits: list[Fit]) -> None:
        if self._args.keep == "none":
            return
        weights = {share: fit.weights for share, fit in zip(task.shares, fits)}
        best = best_of([self.rows[task.group, share] for share in task.shares])
        for share in task.shares:
            if self._args.keep == "all" or (best and share == best["share"]):
                self._writer.weights(task.group, share, weights[share])
        if best:
            names = ("iterations", "step", "reg")
            settings = {name: getattr(self._args, name) for name in names}
            meta = {**best, "dimension": self._data.dimension, "settings": settings}
            self._writer.best(task.group, weights[best["share"]], meta)


def best_of(rows: Iterable[Row]) -> Row | None:
    """The row of highest accuracy, of equals the one with least data; None: nothing was tested."""
    tested = [row for row in rows if row["accuracy"] is not None]
    return max(tested, key=lambda row: (row["accuracy"], -row["share"]), default=None)


def mean(rows: Iterable[Row], name: str) -> float | None:
    """Mean of a column over the rows that have it."""
    values = [row[name] for row in rows if row[name] is not None]
    return sum(values) / len(values) if values else None


def figures_of(study: Study, data: Data, partitions: int) -> dict[str, Any]:
    """Headline figures of result.json, over all models and by task."""
    rows = list(study.rows.values())
    tasks = {}
    for task in sorted({row["task"] for row in rows}):
        mine = [row for row in rows if row["task"] == task]
        tested = [row for row in mine if row["accuracy"] is not None]
        tasks[task] = {
            "models": sum(row["train_s"] is not None for row in mine),
            "mean_accuracy": mean(mine, "accuracy"),
            "mean_balanced_accuracy": mean(mine, "balanced_accuracy"),
            "mean_majority_baseline": mean(mine, "majority_baseline"),
            "n_correct": sum(row["n_correct"] for row in tested),
            "n_test": sum(row["n_test"] for row in tested),
        }
    return {
        "classes": {label: len(paths) for label, paths in data.splits.u.items()},
        "rows": sum(map(len, data.splits.u.values())),
        "dimension": data.dimension,
        "partitions": partitions,
        "models": sum(task["models"] for task in tasks.values()),
        "mean_accuracy": mean(rows, "accuracy"),
        "tasks": tasks,
        "best": best_of(rows),
        "notes": study.notes,
    }


def prepare(args: argparse.Namespace, spark: SparkSession, files: Files, steps: Steps) -> Data:
    """Find, split and load the features of the classes that take part."""
    partitions = _common.partitions(spark, args.partitions)
    with steps.step("find"):
        source = _sources.find(spark, files, args.features, partitions)
        classes = chosen(source.classes(), args.classes, args.one)
    with steps.step("split"):
        splits = Splits.of((row for row in source.rows if row[1] in classes), args.seed)
    with steps.step("load"):
        data, problems = _learning.load(source.read(classes), splits, partitions)
    if problems:
        raise JobError(f"--features {args.features}: {problems[0]}")
    return data


def work(args: argparse.Namespace, spark: SparkSession, steps: Steps) -> None:
    """Load, train, predict, write, report."""
    _common.ship(spark, _common, _learning, _solvers, _sources)
    files = Files(spark)
    data = prepare(args, spark, files, steps)
    writer = Writer(files, args.output)
    writer.clear_models()
    study = Study(args, data, steps, writer)
    study.run(_learning.groups(list(data.splits.u), args.task, args.one))
    data.release()
    with steps.step("export", tell=False):
        writer.splits(data.splits)
        writer.accuracies(list(study.rows.values()))
    figures = figures_of(study, data, data.blocks.getNumPartitions())
    steps.say(f"{figures['models']} models, mean accuracy {figures['mean_accuracy']}")
    steps.finish(files, args, figures, log=True)


def main(argv: list[str] | None = None) -> int:
    """Run the job; 0, or 2 when its arguments or its input are at fault."""
    args = parse(argv)
    steps = Steps("svm")

    def body() -> None:
        _common.require("numpy", "pandas", "pyarrow")
        with _common.session() as spark:
            work(args, spark, steps)

    return _common.run("svm", body)


if __name__ == "__main__":
    sys.exit(main())
