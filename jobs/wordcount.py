"""Count the words of text files: a short job to check that a cluster works.

Executors on the cluster's machines count the words of their part of the lines in parallel. Spark
then sends the counts of each word to one of them (a shuffle), which adds them up.
Writes OUTPUT/counts (tab-separated: word, count; most frequent first) and OUTPUT/result.json.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from operator import add
from typing import Any

from pyspark.sql import SparkSession

TOP = 20
_WORD = re.compile(r"\w+")


def words(line: str) -> Iterator[str]:
    """Return the words of a line in lower case: runs of letters, digits and underscores."""
    return (match.group() for match in _WORD.finditer(line.lower()))


def count(spark: SparkSession, path: str, partitions: int) -> Any:
    """Return an RDD of (word, count) over the files of a folder, a file or a glob pattern."""
    lines = spark.sparkContext.textFile(path, minPartitions=partitions)
    return lines.flatMap(words).map(lambda word: (word, 1)).reduceByKey(add, partitions)


def figures_of(counts: Any) -> dict[str, Any]:
    """Return the number of words, of distinct words, and the most frequent words."""
    top = counts.takeOrdered(TOP, key=lambda pair: (-pair[1], pair[0]))
    return {
        "words": counts.values().sum(),
        "distinct": counts.count(),
        "partitions": counts.getNumPartitions(),
        "top": [{"word": word, "count": times} for word, times in top],
    }


def work(args: argparse.Namespace, spark: SparkSession) -> None:
    """Count the words, and write counts and result.json."""
    output = args.output.rstrip("/")
    start = time.perf_counter()
    partitions = args.partitions or spark.sparkContext.defaultParallelism
    counts = count(spark, args.input, partitions).persist()
    figures = figures_of(counts)
    count_s = time.perf_counter() - start
    frame = counts.toDF("word string, count long").orderBy("count", "word", ascending=[0, 1])
    frame.write.mode("overwrite").csv(f"{output}/counts", sep="\t")
    counts.unpersist()
    total_s = time.perf_counter() - start
    print(
        f"wordcount: {figures['words']} words, {figures['distinct']} distinct in {total_s:.3f} s",
        flush=True,
    )
    result = {
        "job": "wordcount",
        "arguments": vars(args),
        "steps_s": {"count": round(count_s, 3), "export": round(total_s - count_s, 3)},
        "total_s": round(total_s, 3),
        "python": sys.version.split()[0],
        "figures": figures,
    }
    system, path = hadoop_path(spark, f"{output}/result.json")
    stream = system.create(path, True)
    stream.write((json.dumps(result, indent=2, ensure_ascii=False) + "\n").encode())
    stream.close()


def hadoop_path(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """Return Hadoop's FileSystem and Path; PySpark has no file system API."""
    jvm: Any = spark._jvm  # noqa: SLF001
    conf: Any = spark._jsc.hadoopConfiguration()  # noqa: SLF001
    resolved = jvm.org.apache.hadoop.fs.Path(path)
    return resolved.getFileSystem(conf), resolved


def positive_int(text: str) -> int:
    """Parse an integer of at least 1 (an argparse type)."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 when the input does not exist."""
    parser = argparse.ArgumentParser("wordcount", description="Count the words of text files.")
    add_argument = parser.add_argument
    add_argument("--input", required=True, metavar="PATH", help="file, folder or glob pattern")
    add_argument("--output", required=True, metavar="PATH", help="output folder")
    add_argument("--partitions", type=positive_int, metavar="N", help="number of partitions")
    args = parser.parse_args(argv)
    active = SparkSession.getActiveSession()
    spark = active or SparkSession.builder.getOrCreate()
    try:
        system, path = hadoop_path(spark, args.input)
        if not any(letter in args.input for letter in "*?[{,") and not system.exists(path):
            message = f"--input {args.input}: no such file or folder"
            print(f"wordcount: error: {message}", file=sys.stderr)
            return 2
        work(args, spark)
    finally:
        if active is None:
            spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
