"""Classify documents by multinomial naive Bayes, counted with MapReduce.

The probability of a word in a class is its share of the class's words. So training is counting:
map each document to ((class, word), times), and reduce by adding. Each machine maps its part of the
documents; only counts are sent. A tenth of the documents, chosen by their path, is classified
instead: the small model goes to all machines (broadcast). --mllib trains MLlib's model as well.

Output, below --output:
  model.json   log prior of each class, and log probability of each word
  result.json  step durations, documents and accuracy
"""

from __future__ import annotations

import argparse
import math
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from operator import add
from typing import Any

from pyspark.sql import SparkSession

from common import documents, job
from common.documents import class_of, words
from common.files import HadoopFiles, join
from common.job import JobError, JobLog


def is_test(path: str) -> bool:
    """Return whether a document is for the test; the same on every machine and in every run."""
    return zlib.crc32("/".join(path.split("/")[-2:]).encode()) % 10 == 0


def count_words(document: tuple[str, str]) -> Iterator[tuple[tuple[str, str], int]]:
    """Map: yield ((class, word), times) for each distinct word of a document."""
    path, text = document
    for word, times in Counter(words(text)).items():
        yield (class_of(path), word), times


def model_of(priors: dict[str, int], counts: dict[Any, int], alpha: float) -> dict[str, Any]:
    """Return log probabilities by class; `alpha` is added to every count (Laplace smoothing)."""
    vocabulary = sorted({word for _, word in counts})
    n, classes = sum(priors.values()), {}
    for name, members in sorted(priors.items()):
        times = {word: counts.get((name, word), 0) + alpha for word in vocabulary}
        total = math.log(sum(times.values()))
        likelihood = {word: math.log(value) - total for word, value in times.items()}
        classes[name] = {"prior": math.log(members / n), "words": likelihood}
    return classes


def classify(model: dict[str, Any], text: str) -> str:
    """Return the most probable class of a text; words that no class has count 0."""
    times = Counter(words(text))
    scores = {
        name: known["prior"] + sum(n * known["words"].get(word, 0) for word, n in times.items())
        for name, known in model.items()
    }
    return max(scores, key=lambda name: scores[name])


def mllib_accuracy(train: Any, test: Any, alpha: float) -> float:
    """Return the accuracy of MLlib's naive Bayes on the same documents."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import NaiveBayes
    from pyspark.ml.feature import CountVectorizer, StringIndexer

    train, test = (
        rdd.map(lambda item: (class_of(item[0]), list(words(item[1])))).toDF(["name", "words"])
        for rdd in (train, test)
    )
    index = StringIndexer(inputCol="name", outputCol="label")
    vectors = CountVectorizer(inputCol="words", outputCol="features", vocabSize=1 << 24)
    pipeline = Pipeline(stages=[index, vectors, NaiveBayes(smoothing=alpha)])
    predicted = pipeline.fit(train).transform(test).select("label", "prediction")
    return float(predicted.where("label = prediction").count() / max(predicted.count(), 1))


def train_and_test(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Count, classify the test documents, and write the model and result.json."""
    partitions = job.partitions(spark, args.partitions)
    texts = documents.read(spark, args, partitions).persist()
    train, test = (texts.filter(lambda item, t=t: is_test(item[0]) == t) for t in (False, True))
    with log.step("train"):
        priors = train.map(lambda item: class_of(item[0])).countByValue()
        counts = train.flatMap(count_words).reduceByKey(add, partitions).collectAsMap()
        model = model_of(priors, counts, args.alpha)
    if not model:
        raise JobError(f"--input {args.input}: no documents; expected <class>/<name>.txt")
    with log.step("test"):
        shared = spark.sparkContext.broadcast(model)
        hits = test.map(lambda item: classify(shared.value, item[1]) == class_of(item[0]))
        n, correct = hits.count(), hits.filter(bool).count()
    figures = {"n_train": sum(priors.values()), "n_test": n, "n_correct": correct}
    figures |= {"accuracy": correct / n if n else None, "classes": len(model)}
    if args.mllib:
        with log.step("mllib"):
            figures["mllib_accuracy"] = mllib_accuracy(train, test, args.alpha)
    files = HadoopFiles(spark)
    files.write(join(args.output, "model.json"), job.to_json(model))
    log.write_result(files, args, figures)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the input."""
    parser = job.argument_parser("naivebayes", "Classify documents by counting their words.")
    documents.add_arguments(parser)
    parser.add_argument("--alpha", type=job.positive, default=1.0, metavar="X", help="default: 1")
    parser.add_argument("--mllib", action="store_true", help="train MLlib's model as well")
    args = parser.parse_args(argv)
    return job.run_job("naivebayes", ("numpy",), partial(train_and_test, args))


if __name__ == "__main__":
    sys.exit(main())
