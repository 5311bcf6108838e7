"""Search the parameters of a scikit-learn model; every candidate and fold is a task of Spark.

The rows must fit in the memory of a machine: they are sent to each executor once (broadcast). A
task fits one candidate without one fold, and scores it on the fold, as GridSearchCV does. --mllib
searches the same grid with MLlib's CrossValidator, which spreads the rows of each fit instead.
Output, below --output: model.joblib (the best candidate, fitted on all rows) and result.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from functools import partial
from typing import Any

import numpy as np
from pyspark.sql import SparkSession

from common import blocks, job
from common.files import HadoopFiles, join
from common.job import JobError, JobLog
from common.models import dump, one_thread

GRIDS: dict[str, dict[str, list[Any]]] = {
    "logistic": {"C": [0.001, 0.01, 0.1, 1, 10]},
    "forest": {"n_estimators": [10, 30], "max_depth": [2, 4, 8]},
}


def estimator(name: str, seed: int) -> Any:
    """Return an unfitted scikit-learn model."""
    from sklearn import ensemble, linear_model

    forest = ensemble.RandomForestClassifier(random_state=seed)
    return forest if name == "forest" else linear_model.LogisticRegression(max_iter=1000)


def candidates(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the combinations of the grid, or --samples of them at random."""
    from sklearn.model_selection import ParameterGrid

    grid = list(ParameterGrid(args.grid or GRIDS[args.model]))
    chosen = min(args.samples or len(grid), len(grid))
    return random.Random(args.seed).sample(grid, chosen) if args.samples else grid  # noqa: S311


def score(task: tuple[int, int], shared: Any, model: Any, options: Any) -> float:
    """Return the accuracy of a candidate on a fold; runs on an executor."""
    candidate, fold = task
    x, y, folds = shared.value
    train, test = folds[fold]
    with one_thread():
        fitted = model.set_params(**options[candidate]).fit(x[train], y[train])
        return float(fitted.score(x[test], y[test]))


def mllib_search(frame: Any, rows: int, args: argparse.Namespace) -> list[float]:
    """Return the mean accuracy of MLlib's CrossValidator for each value of C."""
    from pyspark.ml import classification, evaluation, tuning

    model = classification.LogisticRegression(standardization=False)
    reg = [1 / (option["C"] * rows * (1 - 1 / args.folds)) for option in candidates(args)]
    grid = tuning.ParamGridBuilder().addGrid(model.regParam, reg).build()
    metric = evaluation.MulticlassClassificationEvaluator(metricName="accuracy")
    search = tuning.CrossValidator(estimator=model, estimatorParamMaps=grid, evaluator=metric)
    search.setNumFolds(args.folds).setParallelism(2).setSeed(args.seed)
    return list(search.fit(frame).avgMetrics)


def search(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Score all candidates, fit the best one, and write the outputs."""
    from sklearn.model_selection import StratifiedKFold

    data = blocks.blocks(spark, args, job.partitions(spark, args.partitions), "classes").persist()
    options, model = candidates(args), estimator(args.model, args.seed)
    names = {name for option in options for name in option}
    if not names <= ({"C"} if args.mllib else model.get_params().keys()):
        raise JobError(f"--grid: not all of {sorted(names)} are parameters of {args.model}")
    with log.step("read"):
        x, y = blocks.collect(data)
        folds = list(StratifiedKFold(args.folds).split(x, y))
        shared = spark.sparkContext.broadcast((x, y, folds))
    with log.step("search"):
        tasks = list(itertools.product(range(len(options)), range(args.folds)))
        fit_and_score = partial(score, shared=shared, model=model, options=options)
        scores = spark.sparkContext.parallelize(tasks, len(tasks)).map(fit_and_score).collect()
    with log.step("fit"):
        means = np.reshape(scores, (len(options), args.folds)).mean(axis=1)
        ranked = np.argsort(-means, kind="stable").tolist()
        model.set_params(**options[ranked[0]]).fit(x, y)
    dump(HadoopFiles(spark), join(args.output, "model.joblib"), model)
    figures: dict[str, Any] = {"rows": len(y), "tasks": len(tasks), "accuracy": means.max()}
    figures["candidates"] = [{**options[number], "accuracy": means[number]} for number in ranked]
    if args.mllib:
        with log.step("mllib"):
            figures["mllib"] = mllib_search(blocks.to_frame(spark, data).persist(), len(y), args)
    log.write_result(HadoopFiles(spark), args, figures)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the arguments or the input."""
    parser = job.argument_parser("gridsearch", "Search parameters of a scikit-learn model.")
    blocks.add_arguments(parser, classes=2)
    add, count = parser.add_argument, job.positive_int
    add("--model", choices=sorted(GRIDS), default="logistic", help="default: logistic")
    add("--grid", type=json.loads, metavar="JSON", help='lists of values, e.g. {"C": [1, 10]}')
    add("--samples", type=count, metavar="N", help="random candidates (default: the whole grid)")
    add("--folds", type=count, default=5, metavar="N", help="default: 5")
    add("--mllib", action="store_true", help="search with MLlib as well (logistic only)")
    args = parser.parse_args(argv)
    if args.folds < 2 or (args.mllib and args.model != "logistic"):
        parser.error("--folds must be at least 2, and --mllib needs --model logistic")
    return job.run_job("gridsearch", ("numpy", "sklearn", "threadpoolctl"), partial(search, args))


if __name__ == "__main__":
    sys.exit(main())
