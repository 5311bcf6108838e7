"""Train one of MLlib's classifiers on LIBSVM data: logistic regression, decision tree, forest.

MLlib's trainers are Spark jobs themselves: the rows remain on the executors, in partitions, and
only sums over them are sent to the driver. Logistic regression is one treeAggregate per step of
L-BFGS. A tree is built level by level: a job collects histograms of all features for the nodes of a
level, so a deeper tree is more jobs. A forest builds the same level of many trees in one job.

Output, below --output:
  model/       the fitted model, for `load` of its class in pyspark.ml.classification
  predictions/ Parquet: label, prediction, probability of class 1 (of the test rows)
  result.json  step durations; accuracy, area under the ROC curve, the most important features
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from common import blocks, job
from common.files import HadoopFiles, join
from common.job import JobError, JobLog

TOP = 10


def classifier(args: argparse.Namespace) -> Any:
    """Return the estimator of --model."""
    from pyspark.ml import classification as mllib

    if args.model == "logistic":
        return mllib.LogisticRegression(regParam=args.reg, maxIter=args.iterations)
    tree = {"maxDepth": args.max_depth, "maxBins": args.bins, "seed": args.seed}
    if args.model == "tree":
        return mllib.DecisionTreeClassifier(**tree)
    return mllib.RandomForestClassifier(numTrees=args.trees, **tree)


def importances(model: Any) -> list[dict[str, float]]:
    """Return the features with the largest weights, or importances, of a model."""
    is_linear = hasattr(model, "coefficientMatrix")
    values = abs(model.coefficientMatrix.toArray()).max(axis=0) if is_linear else None
    values = model.featureImportances.toArray() if values is None else values
    order = sorted(range(len(values)), key=lambda index: -values[index])[:TOP]
    return [{"feature": index, "importance": float(values[index])} for index in order]


def scores(predictions: DataFrame) -> dict[str, Any]:
    """Return the accuracy, and for two classes the area under the ROC curve."""
    from pyspark.ml.evaluation import BinaryClassificationEvaluator

    rows = predictions.groupBy((predictions.label == predictions.prediction).alias("right"))
    counts = {row["right"]: row["count"] for row in rows.count().collect()}
    n, correct = sum(counts.values()), counts.get(True, 0)
    figures = {"n_test": n, "n_correct": correct, "accuracy": correct / n if n else None}
    classes = predictions.select("label").distinct().count()
    if classes == 2:
        # The default is rawPrediction, which for a tree is the number of rows in its leaf.
        area = BinaryClassificationEvaluator(rawPredictionCol="probability")
        figures["auc"] = area.evaluate(predictions)
    return figures


def train_and_test(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Train, evaluate on the test rows, and write the outputs."""
    partitions = job.partitions(spark, args.partitions)
    data = blocks.frame(spark, args, partitions, "classes").persist()
    train, test = data.randomSplit([1 - args.test, args.test], seed=args.seed)
    with log.step("read"):
        n_train = train.count()
    if not n_train:
        raise JobError("there are no rows to train with")
    with log.step("train"):
        model = classifier(args).fit(train)
    with log.step("test"):
        predictions = model.transform(test).persist()
        figures = {"n_train": n_train, **scores(predictions), "top": importances(model)}
    with log.step("export"):
        model.write().overwrite().save(join(args.output, "model"))
        from pyspark.ml.functions import vector_to_array

        chance = vector_to_array("probability")[1].alias("probability")
        rows = predictions.select("label", "prediction", chance)
        rows.write.mode("overwrite").parquet(join(args.output, "predictions"))
    if args.model != "logistic":
        figures["depth"] = max(tree.depth for tree in getattr(model, "trees", [model]))
    log.write_result(HadoopFiles(spark), args, figures)
    data.unpersist()


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the input."""
    parser = job.argument_parser("classifiers", "Train one of MLlib's classifiers on LIBSVM data.")
    blocks.add_arguments(parser, classes=2)
    add = parser.add_argument
    add(
        "--model",
        choices=("logistic", "tree", "forest"),
        default="logistic",
        help="default: logistic",
    )
    add("--reg", type=job.not_negative, default=0.01, metavar="X", help="regParam (default: 0.01)")
    add("--iterations", type=job.positive_int, default=100, metavar="N", help="default: 100")
    add("--max-depth", type=job.positive_int, default=5, metavar="N", help="of a tree (default: 5)")
    add("--bins", type=job.positive_int, default=32, metavar="N", help="per feature (default: 32)")
    add("--trees", type=job.positive_int, default=20, metavar="N", help="in a forest (default: 20)")
    add("--test", type=job.share, default=0.2, metavar="SHARE", help="of the rows (default: 0.2)")
    modules = ("numpy",)
    return job.run_job("classifiers", modules, partial(train_and_test, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
