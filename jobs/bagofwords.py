"""Count how often each word occurs, and in how many documents (a bag of words), in two ways.

Spark divides the documents into partitions, and executors on the cluster's machines count those in
parallel. The counts of one word must then meet on one machine: Spark sends them over the network
(a shuffle). --combine reduce adds up the counts of a word within each partition first, and sends
one number per word and partition (a combiner). --combine group sends the count of every document,
and adds after the shuffle: the same result, from more data. Compare "Shuffle Write" in the Spark
UI.

Output, below --output:
  counts/      tab-separated: word, occurrences, number of documents with it; most frequent first
  result.json  step durations; documents, words, vocabulary, most frequent words
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from pyspark.sql import SparkSession

from common import documents, job
from common.files import HadoopFiles, join
from common.job import JobLog

TOP = 20
Pair = tuple[int, int]  # occurrences, documents


def bag(text: str) -> Iterator[tuple[str, Pair]]:
    """Map: yield (word, (occurrences, 1)) for each distinct word of one document."""
    for word, times in Counter(documents.words(text)).items():
        yield word, (times, 1)


def add(one: Pair, other: Pair) -> Pair:
    """Reduce: add two pairs. The order does not matter, so Spark may add in any order."""
    return one[0] + other[0], one[1] + other[1]


def total(pairs: Any) -> Pair:
    """Add all pairs of a word; they are in memory at the same time."""
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)


def count(texts: Any, combine: str, partitions: int) -> Any:
    """Return an RDD of (word, (occurrences, documents))."""
    bags = texts.flatMap(bag)
    if combine == "reduce":
        return bags.reduceByKey(add, partitions)
    return bags.groupByKey(partitions).mapValues(total)


def count_documents(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Count the words, and write counts and result.json."""
    partitions = job.partitions(spark, args.partitions)
    texts = documents.read(spark, args, partitions).values()
    with log.step("count"):
        counts = count(texts, args.combine, partitions).persist()
        top = counts.takeOrdered(TOP, key=lambda item: (-item[1][0], item[0]))
        words, seen = counts.values().fold((0, 0), add)
    with log.step("export"):
        rows = counts.map(lambda item: (item[0], *item[1]))
        frame = rows.toDF("word string, count long, documents long")
        ordered = frame.orderBy("count", "word", ascending=[0, 1])
        ordered.write.mode("overwrite").csv(join(args.output, "counts"), sep="\t")
    figures = {
        "documents": texts.count(),
        "words": words,
        "words_per_document": seen,
        "vocabulary": counts.count(),
        "top": [{"word": word, "count": pair[0], "documents": pair[1]} for word, pair in top],
    }
    counts.unpersist()
    log.write_result(HadoopFiles(spark), args, figures)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 when the input does not exist."""
    parser = job.argument_parser("bagofwords", "Count the words of documents, with a combiner.")
    documents.add_arguments(parser)
    parser.add_argument(
        "--combine",
        choices=("reduce", "group"),
        default="reduce",
        help="reduceByKey, or groupByKey and count afterwards (default: reduce)",
    )
    args = parser.parse_args(argv)
    return job.run_job("bagofwords", ("numpy",), partial(count_documents, args))


if __name__ == "__main__":
    sys.exit(main())
