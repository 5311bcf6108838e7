"""Documents with a class: read from text files, or generated with Zipf's distribution of words."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from pyspark.sql import SparkSession

from common.files import HadoopFiles, label_of
from common.job import JobError, positive_int

CLASSES = 4  # of generated documents
VOCABULARY = 20_000
_WORD = re.compile(r"\w+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --input, and the arguments of generated documents."""
    add = parser.add_argument
    add("--input", metavar="PATH", help="folder of text files (default: generated documents)")
    add("--documents", type=positive_int, default=2000, metavar="N", help="default: 2000")
    add("--words", type=positive_int, default=500, metavar="N", help="per document (default: 500)")
    add(
        "--seed",
        type=positive_int,
        default=1,
        metavar="N",
        help="of random numbers (default: 1)",
    )


def words(text: str) -> Iterator[str]:
    """Yield the words of a text in lower case: runs of letters, digits and underscores."""
    return (match.group() for match in _WORD.finditer(text.lower()))


def generate(number: int, args: argparse.Namespace) -> tuple[str, str]:
    """Return a generated document; a tenth of its words are more frequent in its class."""
    rng = np.random.default_rng([args.seed, number])
    ranks = rng.zipf(1.3, size=args.words) % VOCABULARY
    own = rng.random(args.words) < 0.1
    ranks[own] = VOCABULARY + number % CLASSES * 50 + rng.integers(0, 60, size=own.sum())
    name = f"class{number % CLASSES}/{number}.txt"
    return name, " ".join(f"w{rank}" for rank in ranks)


def read(spark: SparkSession, args: argparse.Namespace, partitions: int) -> Any:
    """Return an RDD of (path, text), one for each document.

    `wholeTextFiles` reads every file as one record, so that a document is never split.

    Raises:
        JobError: --input does not exist.
    """
    context = spark.sparkContext
    if args.input is None:
        numbers = context.parallelize(range(args.documents), partitions)
        return numbers.map(lambda number: generate(number, args))
    if not HadoopFiles(spark).exists(args.input):
        raise JobError(f"--input {args.input}: no such file or folder")
    found = context.wholeTextFiles(f"{args.input.rstrip('/')}/*/*.txt", partitions)
    return found.repartition(partitions)


def class_of(path: str) -> str:
    """Return the class of a document: the name of its folder."""
    return label_of(path, "folder") or ""
