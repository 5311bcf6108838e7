"""Count the words of text files: the quick job that shows whether a cluster works.

wordcount.py --input PATH --output PATH [--partitions N]

Writes OUTPUT/counts (tab-separated: word, count; most frequent first) and OUTPUT/result.json.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from operator import add
from typing import Any

import _common
from _common import Files, JobError, Steps, join
from pyspark.sql import SparkSession

TOP = 20
_WORD = re.compile(r"\w+")


def words(line: str) -> Iterator[str]:
    """The words of a line in lower case: runs of letters, digits and underscores."""
    return (found.group() for found in _WORD.finditer(line.lower()))


def count(spark: SparkSession, path: str, partitions: int) -> Any:
    """RDD of (word, count) over all files of a folder, or a file, or a pattern."""
    lines = spark.sparkContext.textFile(path, minPartitions=partitions)
    return lines.flatMap(words).map(lambda word: (word, 1)).reduceByKey(add, partitions)


def figures_of(counts: Any) -> dict[str, Any]:
    """Words in all, distinct words, and the most frequent ones with their counts."""
    top = counts.takeOrdered(TOP, key=lambda pair: (-pair[1], pair[0]))
    return {
        "words": counts.values().sum(),
        "distinct": counts.count(),
        "partitions": counts.getNumPartitions(),
        "top": [{"word": word, "count": times} for word, times in top],
    }


def work(args: argparse.Namespace, spark: SparkSession, steps: Steps) -> None:
    """Count, write, report."""
    _common.ship(spark, _common)
    files = Files(spark)
    if not any(letter in args.input for letter in "*?[{,") and not files.exists(args.input):
        raise JobError(f"--input {args.input}: no such file or folder")
    with steps.step("count"):
        counts = count(spark, args.input, _common.partitions(spark, args.partitions)).persist()
        figures = figures_of(counts)
    with steps.step("export"):
        frame = counts.toDF("word string, count long").orderBy("count", "word", ascending=[0, 1])
        frame.write.mode("overwrite").csv(join(args.output, "counts"), sep="\t")
    counts.unpersist()
    steps.say(f"{figures['words']} words, {figures['distinct']} of them distinct")
    steps.finish(files, args, figures)


def main(argv: list[str] | None = None) -> int:
    """Run the job; 0, or 2 when its arguments or its input are at fault."""
    parser = _common.parser("wordcount", "Count the words of text files.")
    parser.add_argument("--input", required=True, metavar="PATH", help="file, folder or pattern")
    args = parser.parse_args(argv)
    steps = Steps("wordcount")

    def body() -> None:
        with _common.session() as spark:
            work(args, spark, steps)

    return _common.run("wordcount", body)


if __name__ == "__main__":
    sys.exit(main())
