"""Classify new pictures with the models of an svm study, in parallel.

Every executor receives the models once (broadcast). Each task decodes its pictures, extracts their
features and classifies them, so that no picture passes through the driver.

--models is the --output of the svm job. Its result.json contains the settings of the feature
extractor if the features job wrote the features; otherwise --extractor is required. Pictures are
read as by the features job. Their names need not contain a class; if they do, accuracy is reported.

Output, below --output:
  classes/     Parquet: path, label (from the name, or null), predicted (class), margin
               (of that class), reason (why a picture is unreadable; then predicted is null)
  result.json  step durations, counts by class, accuracy on the pictures whose class is known
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

import numpy as np
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

from common import job
from common.files import HadoopFiles, join
from common.job import JobError, JobLog
from features import extractors, pictures
from features.extractors import FeatureExtractor
from features.pictures import DecodedPicture, PictureReader, Tables
from svm.outputs import MulticlassModel, read_best_models

if TYPE_CHECKING:
    import pandas as pd

CLASSIFIED = "path string, label string, predicted string, margin double, reason string"
TASKS = {"one-vs-all": "one-vs-all", "voting": "pairs"}


def classification(reader: PictureReader, model: Any) -> Callable[[Tables], Tables]:
    """Return the function for mapInPandas, which calls it on the executors for parts of the rows.

    It converts rows of ENCODED to CLASSIFIED. `model` is a broadcast.
    """

    def classify(tables: Tables) -> Tables:
        for batch in reader.batches(tables, frozenset()):
            yield classify_batch(batch, reader.extractor, model.value)

    return classify


def classify_batch(
    batch: list[DecodedPicture], extractor: FeatureExtractor, model: MulticlassModel
) -> pd.DataFrame:
    """Return the rows of CLASSIFIED of one batch."""
    import pandas as pd

    pixels = [picture.pixels for picture in batch if picture.pixels is not None]
    predictions: Iterator[tuple[str, float]] = iter(())
    if pixels:
        rows = extractor.features(np.stack(pixels))
        numbers, margins = model.predict(rows.astype(np.float64))
        predictions = zip([model.classes[number] for number in numbers], margins.tolist())
    lines = []
    for picture in batch:
        readable = picture.pixels is not None
        predicted = next(predictions) if readable else (None, None)
        reason = None if readable else picture.reason
        lines.append((picture.path, picture.label, *predicted, reason))
    return pd.DataFrame(lines, columns=["path", "label", "predicted", "margin", "reason"])


def extractor_settings(files: HadoopFiles, args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the extractor: of --extractor, or of the study.

    Raises:
        JobError: --models is not a study, or neither has the settings.
    """
    path = join(args.models, "result.json")
    if not files.exists(path):
        raise JobError(f"--models {args.models}: not the --output of the svm job")
    if args.extractor:
        size = args.size or extractors.default_size(args.extractor)
        return {**vars(args), "name": args.extractor, "size": size}
    settings = json.loads(files.read(path))["figures"].get("extractor")
    if not settings:
        raise JobError(f"--models {args.models} does not name its extractor: set --extractor")
    return {**settings, "backend": args.backend}


def figures_of(results: DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Count by predicted class, and compute accuracy on labels that are classes of the models."""
    rows = results.groupBy("label", "predicted").count().collect()
    counts = [(row["label"], row["predicted"], row["count"]) for row in rows]
    labelled = [row for row in counts if row[0] in classes and row[1] is not None]
    n = sum(row[2] for row in labelled)
    correct = sum(row[2] for row in labelled if row[0] == row[1])
    predicted: Counter[str] = Counter()
    for _, name, count in counts:
        if name is not None:
            predicted[name] += count
    return {
        "pictures": sum(row[2] for row in counts),
        "broken": sum(row[2] for row in counts if row[1] is None),
        "predicted": dict(sorted(predicted.items())),
        "n_known": n,
        "n_correct": correct,
        "accuracy": correct / n if n else None,
    }


def classify_pictures(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Load the models, classify the pictures, and write the results."""
    files = HadoopFiles(spark)
    with log.step("models"):
        settings = extractor_settings(files, args)
        job.require(*extractors.modules(settings["name"], args.backend))
        model = MulticlassModel.of(read_best_models(files, args.models, TASKS[args.method]))
        extractor = extractors.create(spark, settings)
    with log.step("list"):
        listing = pictures.find(files, args.input)
        partitions = job.partitions(spark, args.partitions)
        encoded = pictures.read(spark, args.input, listing, partitions)
    reader = PictureReader(extractor, args.labels, listing.root, label_required=False)
    shared = spark.sparkContext.broadcast(model)
    results = encoded.mapInPandas(classification(reader, shared), CLASSIFIED)
    results = results.persist(StorageLevel.MEMORY_AND_DISK)
    with log.step("extract and classify"):
        results.write.mode("overwrite").parquet(join(args.output, "classes"))
    figures = figures_of(results, model.classes)
    results.unpersist()
    log.write(f"{figures['pictures']} pictures, {figures['broken']} broken")
    figures = {**figures, "extractor": settings["name"], "method": args.method}
    log.write_result(files, args, figures)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the arguments."""
    parser = job.argument_parser("classify", "Classify new pictures, in parallel.")
    add = parser.add_argument
    add("--models", required=True, metavar="PATH", help="--output of the svm job")
    add(
        "--method",
        choices=sorted(TASKS),
        default="one-vs-all",
        help="largest one-vs-all margin, or votes of all pairs (default: one-vs-all)",
    )
    pictures.add_arguments(parser)
    extractors.add_arguments(parser)
    parser.set_defaults(extractor=None)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the arguments or the input."""
    args = parse(argv)
    return job.run_job("classify", ("numpy", "pandas", "pyarrow"), partial(classify_pictures, args))


if __name__ == "__main__":
    sys.exit(main())
