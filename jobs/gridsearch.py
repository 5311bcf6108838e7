"""Search the parameters of a scikit-learn model; every candidate and fold is a task of Spark.

All rows are sent to each executor once (broadcast), so they must fit in its memory. A task fits a
candidate without one fold, and scores it on the fold. With --library mllib the rows remain divided,
and each fit is many Spark jobs. Output: model.joblib (scikit-learn's best) and result.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from typing import Any

import numpy as np
from pyspark.ml import classification as ml
from pyspark.ml import evaluation, tuning
from pyspark.sql import SparkSession

from common import blocks, job
from common.files import HadoopFiles, join
from common.job import JobError, JobLog
from common.models import dump, one_thread

GRIDS: dict[str, Any] = {"logistic": {"C": [0.001, 0.01, 0.1, 1, 10]}}
GRIDS["forest"] = {"n_estimators": [10, 30], "max_depth": [2, 4, 8]}
MLLIB = {"C": "regParam", "n_estimators": "numTrees", "max_depth": "maxDepth"}


def estimator(args: argparse.Namespace) -> Any:
    """Return an unfitted scikit-learn model."""
    from sklearn import ensemble, linear_model

    forest = ensemble.RandomForestClassifier(random_state=args.seed)
    return forest if args.model == "forest" else linear_model.LogisticRegression(max_iter=1000)


def candidates(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the combinations of the grid, or --samples of them at random."""
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    grid, n = args.grid or GRIDS[args.model], args.samples
    return list(ParameterSampler(grid, n, random_state=args.seed) if n else ParameterGrid(grid))


def score(task: tuple[int, int], shared: Any) -> float:
    """Return the accuracy of a candidate on a fold; runs on an executor."""
    candidate, fold = task
    x, y, folds, model, options = shared.value
    train, test = folds[fold]
    with one_thread():
        fitted = model.set_params(**options[candidate]).fit(x[train], y[train])
        return float(fitted.score(x[test], y[test]))


def by_scikit_learn(context: Any, x: Any, y: Any, args: argparse.Namespace) -> Any:
    """Return the mean accuracy of each candidate; every fit is a task."""
    from sklearn.model_selection import StratifiedKFold

    options, folds = candidates(args), list(StratifiedKFold(args.folds).split(x, y))
    shared = context.broadcast((x, y, folds, estimator(args), options))
    tasks = [(option, fold) for option in range(len(options)) for fold in range(args.folds)]
    scores = context.parallelize(tasks, len(tasks)).map(partial(score, shared=shared)).collect()
    return np.reshape(scores, (len(options), args.folds)).mean(axis=1)


def by_mllib(frame: Any, rows: int, args: argparse.Namespace) -> Any:
    """Return the mean accuracy of each candidate; every fit is spread over the executors."""
    logistic: Any = ml.LogisticRegression(standardization=False)
    model = ml.RandomForestClassifier(seed=args.seed) if args.model == "forest" else logistic
    n = rows * (1 - 1 / args.folds)  # MLlib divides the loss by the rows, scikit-learn does not
    grid = [
        {model.getParam(MLLIB[k]): 1 / (v * n) if k == "C" else v for k, v in option.items()}
        for option in candidates(args)
    ]
    metric = evaluation.MulticlassClassificationEvaluator(metricName="accuracy")
    search = tuning.CrossValidator(estimator=model, estimatorParamMaps=grid, evaluator=metric)
    search.setNumFolds(args.folds).setParallelism(2).setSeed(args.seed)
    return np.array(search.fit(frame).avgMetrics)


def search(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Score all candidates, fit the best one, and write the outputs."""
    options, is_mllib = candidates(args), args.library == "mllib"
    names, known = {name for option in options for name in option}, estimator(args).get_params()
    if not names <= (known.keys() & MLLIB if is_mllib else known.keys()):
        raise JobError(f"--grid: not all of {sorted(names)} are parameters of {args.model}")
    data = blocks.blocks(spark, args, job.partitions(spark, args.partitions), "classes").persist()
    with log.step("read"):
        frame = blocks.to_frame(spark, data).persist() if is_mllib else None
        x, y = ((), ()) if is_mllib else blocks.collect(data)
        rows = frame.count() if frame else len(y)
    with log.step("search"):
        means = by_mllib(frame, rows, args) if frame else by_scikit_learn(data.context, x, y, args)
    order = np.argsort(-means, kind="stable")
    if not is_mllib:
        with log.step("fit"):
            best = estimator(args).set_params(**options[order[0]]).fit(x, y)
        dump(HadoopFiles(spark), join(args.output, "model.joblib"), best)
    figures = {"rows": rows, "fits": len(options) * args.folds, "accuracy": means.max()}
    figures["candidates"] = [{**options[number], "accuracy": means[number]} for number in order]
    log.write_result(HadoopFiles(spark), args, figures)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the arguments or the input."""
    parser = job.argument_parser("gridsearch", "Search parameters of a scikit-learn model.")
    blocks.add_arguments(parser, classes=2)
    add, count = parser.add_argument, job.positive_int
    add("--model", choices=sorted(GRIDS), default="logistic", help="default: logistic")
    add("--grid", type=json.loads, metavar="JSON", help='lists of values, e.g. {"C": [1, 10]}')
    add("--samples", type=count, metavar="N", help="random candidates (default: the whole grid)")
    add("--folds", type=int, choices=range(2, 21), default=5, metavar="N", help="2 to 20")
    add("--library", choices=("scikit-learn", "mllib"), default="scikit-learn", help="to fit with")
    return job.run_job("gridsearch", ("numpy", "sklearn"), partial(search, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
