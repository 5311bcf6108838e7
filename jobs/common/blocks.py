"""Labelled rows of numbers: read from LIBSVM files, or generated.

`blocks` returns them for numpy, `frame` for MLlib. A block is many rows in one array: numpy
multiplies it at once, and Spark has few Python objects to move.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from common.files import HadoopFiles
from common.job import JobError, positive_int

BLOCK_ROWS = 1000


class Block(NamedTuple):
    """Rows x [n, features] with labels y [n]; its number is that in the data, from 0."""

    number: int
    x: Any
    y: Any


def add_arguments(parser: argparse.ArgumentParser, *, classes: int | None = None) -> None:
    """Add --input, and the arguments of generated data; --classes if it has a default."""
    add = parser.add_argument
    add("--input", metavar="PATH", help="LIBSVM files (default: generated rows)")
    add("--rows", type=positive_int, default=100_000, metavar="N", help="default: 100000")
    add("--features", type=positive_int, default=20, metavar="N", help="default: 20")
    if classes:
        add(
            "--classes", type=positive_int, default=classes, metavar="N", help=f"default: {classes}"
        )
    add(
        "--seed",
        type=positive_int,
        default=1,
        metavar="N",
        help="of random numbers (default: 1)",
    )


def true_weights(features: int, seed: int) -> Any:
    """Return the weights that the labels of generated rows depend on; the last is the intercept."""
    return np.random.default_rng(seed).normal(size=features + 1)


def generate(number: int, args: argparse.Namespace, kind: str) -> Block:
    """Return a block of random rows; it depends on the seed and its number only.

    Labels are a linear function of the row with normal noise (kind `regression`), or drawn from a
    logistic model (kind `classes`): 0 and 1, or up to --classes - 1.
    """
    rng = np.random.default_rng([args.seed, number])
    rows = min(BLOCK_ROWS, args.rows - number * BLOCK_ROWS)
    x = rng.normal(size=(rows, args.features))
    weights = true_weights(args.features, args.seed)
    margin = x @ weights[:-1] + weights[-1]
    if kind == "regression":
        return Block(number, x, margin + rng.normal(size=rows))
    classes = getattr(args, "classes", 2)
    if classes > 2:
        shape = (args.features, classes)
        weights = np.random.default_rng(args.seed).normal(size=shape)
        return Block(number, x, (x @ weights + rng.gumbel(size=(rows, classes))).argmax(1) * 1.0)
    return Block(number, x, (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(float))


def blocks(spark: SparkSession, args: argparse.Namespace, partitions: int, kind: str) -> Any:
    """Return an RDD of blocks."""
    if args.input:
        rows = frame(spark, args, partitions, kind).rdd
        return rows.mapPartitionsWithIndex(_stack)
    numbers = range(-(-args.rows // BLOCK_ROWS))
    return spark.sparkContext.parallelize(numbers, min(partitions, len(numbers))).map(
        lambda number: generate(number, args, kind)
    )


def frame(spark: SparkSession, args: argparse.Namespace, partitions: int, kind: str) -> DataFrame:
    """Return a DataFrame of label and features, as MLlib needs it.

    Raises:
        JobError: --input does not exist.
    """
    if args.input:
        if not HadoopFiles(spark).exists(args.input):
            raise JobError(f"--input {args.input}: no such file or folder")
        return spark.read.format("libsvm").load(args.input).repartition(partitions)
    return to_frame(spark, blocks(spark, args, partitions, kind))


def to_frame(spark: SparkSession, data: Any) -> DataFrame:
    """Return the rows of an RDD of blocks as a DataFrame of label and features."""
    from pyspark.ml.linalg import DenseVector, VectorUDT
    from pyspark.sql.types import DoubleType, StructType

    schema = StructType().add("label", DoubleType()).add("features", VectorUDT())
    rows = data.flatMap(
        lambda block: [(float(y), DenseVector(x)) for x, y in zip(block.x, block.y)]
    )
    return spark.createDataFrame(rows, schema)


def collect(data: Any) -> tuple[Any, Any]:
    """Return all rows and labels in the driver, in the order of their blocks."""
    parts = sorted(data.collect(), key=lambda block: block.number)
    return np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])


def _stack(partition: int, rows: Iterable[Any]) -> Iterator[Block]:
    """Yield the rows of a partition as blocks."""
    rest = list(rows)
    for start in range(0, len(rest), BLOCK_ROWS):
        part = rest[start : start + BLOCK_ROWS]
        x = np.stack([row["features"].toArray() for row in part])
        number = (partition << 32) + start // BLOCK_ROWS
        yield Block(number, x, np.array([row["label"] for row in part]))
