"""Fit a logistic regression by parallel gradient descent.

Each step is one Spark job: the driver sends the weights to all tasks (broadcast), every partition
adds up the gradient of its rows, and treeAggregate adds the partitions' sums on the executors, so
that the driver receives a few vectors only. --batch 0.1 uses a random tenth of the rows in each
step: less work per step, more steps. With --persist no, every step reads the rows again. --mllib
fits MLlib's LogisticRegression as well.

Output, below --output:
  result.json  step durations; loss before each step, accuracy, and the same for MLlib
"""

from __future__ import annotations

import argparse
import operator
import sys
from functools import partial
from typing import Any

import numpy as np
from pyspark.sql import SparkSession

from common import blocks, job
from common.blocks import Block
from common.files import HadoopFiles
from common.job import JobLog


def sums_of(block: Block, weights: Any, share: float, seed: list[int]) -> Any:
    """Return sums over a random share of a block's rows; the last weight is the intercept.

    One array, which Spark can add: log loss, correct predictions, rows, and the gradient.
    """
    x, y = block.x, block.y
    if share < 1:
        chosen = np.random.default_rng([*seed, block.number]).random(len(y)) < share
        x, y = x[chosen], y[chosen]
    margin = x @ weights[:-1] + weights[-1]
    loss = np.logaddexp(0, margin) - y * margin
    slope = 1 / (1 + np.exp(-margin)) - y
    correct = (margin > 0) == (y > 0)
    return np.array([loss.sum(), correct.sum(), len(y), *(slope @ x), slope.sum()])


def descend(data: Any, width: int, args: argparse.Namespace) -> tuple[Any, list[float]]:
    """Return the weights and the mean loss before each step."""
    weights, losses = np.zeros(width + 1), []
    for step in range(args.steps):
        shared = data.context.broadcast(weights)
        add_block = partial(add_sums, shared=shared, share=args.batch, seed=[args.seed, step])
        total = data.treeAggregate(np.zeros(width + 4), add_block, operator.add, args.depth)
        shared.destroy()
        loss, rows, gradient = total[0], total[2], total[3:]
        if rows:
            penalty = args.reg * np.append(weights[:-1], 0)  # the intercept has none
            weights = weights - args.rate / np.sqrt(step + 1) * (gradient / rows + penalty)
            losses.append(float(loss / rows))
    return weights, losses


def add_sums(sums: Any, block: Block, shared: Any, share: float, seed: list[int]) -> Any:
    """Add the sums of a block; `shared` is the broadcast of the weights."""
    return sums + sums_of(block, shared.value, share, seed)


def mllib_weights(frame: Any, reg: float) -> Any:
    """Return the weights of MLlib's LogisticRegression (L-BFGS), the intercept last."""
    from pyspark.ml.classification import LogisticRegression

    model = LogisticRegression(regParam=reg, standardization=False).fit(frame)
    return np.append(model.coefficients.toArray(), model.intercept)


def evaluate(data: Any, weights: Any) -> dict[str, Any]:
    """Return mean loss and accuracy over all rows."""
    loss, correct, rows = data.map(lambda block: sums_of(block, weights, 1.0, [])[:3]).sum()
    return {"loss": loss / rows, "accuracy": correct / rows, "weights": weights.tolist()}


def fit(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Fit, and write result.json."""
    data = blocks.blocks(spark, args, job.partitions(spark, args.partitions), "classes")
    if args.persist == "yes":
        data.persist()
    with log.step("read"):
        width = data.map(lambda block: block.x.shape[1]).max()
    with log.step("descend"):
        weights, losses = descend(data, width, args)
    figures = {**evaluate(data, weights), "losses": losses}
    if args.mllib:
        with log.step("mllib"):
            theirs = mllib_weights(blocks.to_frame(spark, data), args.reg)
        figures["mllib"] = evaluate(data, theirs)
    log.write_result(HadoopFiles(spark), args, figures)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the input."""
    parser = job.argument_parser("logreg", "Fit a logistic regression by gradient descent.")
    blocks.add_arguments(parser)
    add = parser.add_argument
    add("--steps", type=job.positive_int, default=50, metavar="N", help="default: 50")
    add("--rate", type=job.positive, default=2, metavar="X", help="of the first step (default: 2)")
    add("--reg", type=job.not_negative, default=0, metavar="X", help="L2 penalty (default: 0)")
    add("--batch", type=job.share, default=1, metavar="SHARE", help="of the rows (default: 1)")
    add("--depth", type=job.positive_int, default=2, metavar="N", help="of the tree (default: 2)")
    add("--persist", choices=("yes", "no"), default="yes", help="keep rows (default: yes)")
    add("--mllib", action="store_true", help="fit MLlib's LogisticRegression as well")
    return job.run_job("logreg", ("numpy",), partial(fit, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
