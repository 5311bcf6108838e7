"""Fit a linear regression by the normal equations, with MapReduce.

With Z = [1, X, y] all sums of a least-squares fit are in the matrix Z'Z of (features + 2)² numbers.
Z'Z is a sum over the rows, so each partition (the rows that one task has) computes its own (map),
and Spark adds them (reduce): whatever the number of rows, one small matrix per partition is sent,
and the driver solves X'X w = X'y. --depth 2 adds groups of the matrices on the executors first. The
data are read once. --mllib fits MLlib's LinearRegression as well.

Output, below --output:
  result.json  step durations; weights with standard errors, R², and the difference to MLlib's
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from operator import add
from typing import Any

import numpy as np
from pyspark.sql import SparkSession

from common import blocks, job
from common.blocks import Block
from common.files import HadoopFiles
from common.job import JobError, JobLog


def gram(part: Iterable[Block]) -> Iterator[Any]:
    """Map: yield the sum of Z'Z over the blocks of a partition, [features + 2] squared."""
    total: Any = None
    for block in part:
        z = np.column_stack([np.ones(len(block.y)), block.x, block.y])
        total = z.T @ z if total is None else total + z.T @ z
    if total is not None:
        yield total


def solve(zz: Any) -> dict[str, Any]:
    """Return weights (the intercept first), their standard errors, R² and the residual deviation.

    Raises:
        JobError: The columns are linearly dependent, or there are too few rows.
    """
    xx, xy, yy, n = zz[:-1, :-1], zz[:-1, -1], zz[-1, -1], zz[0, 0]
    freedom = n - len(xy)
    if freedom <= 0 or np.linalg.matrix_rank(xx) < len(xy):
        raise JobError(f"{n:.0f} rows do not determine {len(xy)} weights")
    weights = np.linalg.solve(xx, xy)
    residual = max(float(yy - weights @ xy), 0.0)
    variance = residual / freedom
    errors = np.sqrt(variance * np.diag(np.linalg.inv(xx)))
    spread = float(yy - zz[0, -1] ** 2 / n)
    return {
        "rows": int(n),
        "weights": weights.tolist(),
        "standard_errors": errors.tolist(),
        "r2": 1 - residual / spread if spread > 0 else None,
        "deviation": float(np.sqrt(variance)),
    }


def mllib_weights(frame: Any) -> Any:
    """Return the weights of MLlib's LinearRegression, the intercept first."""
    from pyspark.ml.regression import LinearRegression

    model = LinearRegression(solver="normal", standardization=False).fit(frame)
    return np.append(model.intercept, model.coefficients.toArray())


def fit(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Fit, and write result.json."""
    partitions = job.partitions(spark, args.partitions)
    data = blocks.blocks(spark, args, partitions, "regression").persist()
    with log.step("read"):
        count = data.count()
    with log.step("fit"):
        zz = (
            data.mapPartitions(gram).treeReduce(add, depth=args.depth)
            if count
            else np.zeros((2, 2))
        )
        figures = solve(zz)
    if args.mllib:
        with log.step("mllib"):
            theirs = mllib_weights(blocks.to_frame(spark, data))
        figures["mllib_difference"] = float(np.abs(theirs - figures["weights"]).max())
    log.write_result(HadoopFiles(spark), args, figures)
    data.unpersist()


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the input."""
    parser = job.argument_parser("linreg", "Fit a linear regression by the normal equations.")
    blocks.add_arguments(parser)
    add_argument = parser.add_argument
    add_argument(
        "--depth", type=job.positive_int, default=2, metavar="N", help="of the tree (default: 2)"
    )
    add_argument("--mllib", action="store_true", help="fit MLlib's LinearRegression as well")
    return job.run_job("linreg", ("numpy",), partial(fit, parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
