"""Fit the members of an ensemble of scikit-learn models in parallel, one task for each member.

--method one-vs-rest  one model for each class against all others: the same features, many targets
         bagging      decision trees on samples of the rows with replacement; they vote
         voting       four kinds of models on all rows; they vote
         two-step     a model of groups of classes, then for each group a model of its classes

The rows fit in memory: they are sent to each executor once (broadcast). Fitted members return to
the driver, which combines their predictions on the test rows.

Output, below --output:
  models.joblib  the fitted members, in order
  result.json    step durations; accuracy of the ensemble, and of the members that can be compared
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

import numpy as np
from pyspark.sql import SparkSession

from common import blocks, job
from common.files import HadoopFiles, join
from common.job import JobError, JobLog
from common.models import dump, one_thread

METHODS = ("one-vs-rest", "bagging", "voting", "two-step")


def member(number: int, y: Any, args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Return an unfitted model, the rows to fit it on, and its target for all rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    rows, logistic = np.arange(len(y)), LogisticRegression(max_iter=1000)
    if args.method == "one-vs-rest":
        return logistic, rows, y == np.unique(y)[number]
    if args.method == "bagging":
        sample = np.random.default_rng([args.seed, number]).choice(rows, len(rows))
        return DecisionTreeClassifier(random_state=number), sample, y
    if args.method == "voting":
        others = (GaussianNB(), KNeighborsClassifier(), DecisionTreeClassifier(random_state=0))
        return (logistic, *others)[number], rows, y
    group = y % args.groups
    if number == 0:
        return logistic, rows, group
    return logistic, rows[group == number - 1], y


def fit(number: int, shared: Any, args: argparse.Namespace) -> Any:
    """Return a fitted member; runs on an executor."""
    x, y = shared.value
    model, rows, target = member(number, y, args)
    with one_thread():
        return model.fit(x[rows], target[rows])


def predict(models: list[Any], x: Any, classes: Any, method: str) -> Any:
    """Return the classes that the ensemble predicts for rows x."""
    if method == "one-vs-rest":
        return classes[np.argmax([model.decision_function(x) for model in models], axis=0)]
    if method == "two-step":
        groups, predicted = models[0].predict(x), np.zeros(len(x))
        for group, model in enumerate(models[1:]):
            if (groups == group).any():
                predicted[groups == group] = model.predict(x[groups == group])
        return predicted
    votes = np.array([model.predict(x) for model in models])
    counts = np.array([(votes == name).sum(axis=0) for name in classes])
    return classes[counts.argmax(axis=0)]  # of equal counts the first class


def train_and_test(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Fit the members in parallel, combine them, and write the outputs."""
    from sklearn.model_selection import train_test_split

    context, files = spark.sparkContext, HadoopFiles(spark)
    data = blocks.blocks(spark, args, job.partitions(spark, args.partitions), "classes")
    with log.step("read"):
        x, y = blocks.collect(data)
        x, test_x, y, test_y = train_test_split(x, y, test_size=0.25, random_state=args.seed)
        classes, shared = np.unique(y), context.broadcast((x, y))
    if args.method == "two-step" and len(classes) < 2 * args.groups:
        raise JobError(f"--groups {args.groups}: {len(classes)} classes are too few for that")
    with log.step("fit"):
        counts = (len(classes), args.members, 4, args.groups + 1)
        count = counts[METHODS.index(args.method)]
        numbers = context.parallelize(range(count), count)
        models = numbers.map(partial(fit, shared=shared, args=args)).collect()
    with log.step("test"):
        predicted = predict(models, test_x, classes, args.method)
    correct = int(sum(predicted == test_y))
    figures: dict[str, Any] = {"members": count, "n_test": len(test_y), "n_correct": correct}
    figures["accuracy"] = correct / len(test_y)
    if args.method in ("bagging", "voting"):
        figures["member_accuracies"] = [float(model.score(test_x, test_y)) for model in models]
    dump(files, join(args.output, "models.joblib"), models)
    log.write_result(files, args, figures)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the arguments or the input."""
    parser = job.argument_parser("ensembles", "Fit ensembles of scikit-learn models in parallel.")
    blocks.add_arguments(parser, classes=6)
    add, count = parser.add_argument, job.positive_int
    add("--method", choices=METHODS, default="bagging", help="default: bagging")
    add("--members", type=count, default=20, metavar="N", help="of bagging (default: 20)")
    add("--groups", type=count, default=2, metavar="N", help="of two-step (default: 2)")
    modules = ("numpy", "sklearn", "threadpoolctl")
    return job.run_job("ensembles", modules, partial(train_and_test, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
