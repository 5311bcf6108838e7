"""Pictures to feature vectors, in parallel.

features.py --input PATH --output PATH [--extractor hog|vgg16|resnet50|…] [--size PIXELS]
            [--layer NAME] [--weights imagenet|random:SEED|PATH] [--labels auto|name|folder]
            [--format parquet|json] [--partitions N] [--anew]

PATH holds pictures (`<class>_<n>.jpg` or `<class>/<file>`, at any depth), or archives of them
(.tar, .tar.gz, .tgz, .zip, each below 2 GB): thousands of small objects cost an object store three
requests each, an archive three in all.

Writes, below --output:
  features/    Parquet (path, label, features: list of float32; the extractor with its weights'
               hash in the metadata of `features`); or, with --format json, one JSON list for each
               picture (`<class>_<n>.jpg.json`), written through the driver
  broken/      path, label and reason of each picture that could not be read (JSON lines; absent
               when there is none)
  result.json  times and counts, the extractor's settings

A rerun into the same --output extracts what is missing: pictures that are new, changed since, or
were broken; with other settings, or with pictures gone, it begins anew.

`path` is relative to --input (for a picture in an archive: as if that had been unpacked where it
lies), so the same data have the same paths in any bucket. Each Python worker holds up to
spark.sql.execution.arrow.maxRecordsPerBatch pictures as files: lower it for large photographs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Callable

import _common
import _earlier
import _extractors
import _networks
import _pictures
import numpy as np
from _common import WRITERS, Files, JobError, Steps, join
from _earlier import Earlier, Inputs
from _extractors import Extractor
from _pictures import Picture, Reading, Table, find, read, root_of
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

if TYPE_CHECKING:
    import pandas as pd  # imported where it is used: `require` must be able to say that it lacks

VECTORS = "path string, label string, features array<float>, reason string"
Figures = dict[str, Any]


# ---- what is made of it --------------------------------------------------------------------------


def vectors(pictures: list[Picture], extractor: Extractor) -> pd.DataFrame:
    """Rows of VECTORS for a batch of pictures; broken ones have a reason and no features."""
    import pandas as pd

    good = [picture.pixels for picture in pictures if picture.reason is None]
    made = iter(extractor.features(np.stack(good)).astype(np.float32) if good else [])
    return pd.DataFrame(
        {
            "path": [picture.path for picture in pictures],
            "label": [picture.label for picture in pictures],
            "features": [next(made) if picture.reason is None else None for picture in pictures],
            "reason": [picture.reason for picture in pictures],
        }
    )


def extraction(reading: Reading, done: Any) -> Callable[[Table], Table]:
    """For mapInPandas: RAW in, VECTORS out, in batches of the size that the extractor likes.

    `done` is a broadcast of the paths that have their vectors already: they are passed over.
    """

    def extracted(tables: Table) -> Table:
        for batch in reading.batches(tables, done.value):
            yield vectors(batch, reading.extractor)

    return extracted


# ---- what is written -----------------------------------------------------------------------------


def write_features(files: Files, good: DataFrame, folder: str, form: str) -> None:
    """Write the features: Parquet from the executors, JSON (the lecture's form) through the driver.

    A Python worker has no way to Hadoop's file systems, and Spark names its own files.
    """
    if form == "parquet":
        good.write.mode("append").parquet(folder)
        return

    def write(row: Any) -> None:
        files.write(join(folder, f"{row['path']}.json"), json.dumps(row["features"]).encode())

    rows = good.toLocalIterator(prefetchPartitions=True)
    with ThreadPoolExecutor(WRITERS) as pool:
        # In chunks: a pool given everything would hold every vector on the driver at once.
        for chunk in iter(lambda: list(itertools.islice(rows, WRITERS * 16)), []):
            list(pool.map(write, chunk))


def write_broken(files: Files, results: DataFrame, folder: str) -> list[dict[str, str]]:
    """Write path, label and reason of the broken pictures as JSON lines; the first ten of them."""
    broken = results.where("reason is not null").select("path", "label", "reason")
    files.delete(folder)
    first = [row.asDict() for row in broken.orderBy("path").limit(10).collect()]
    if first:
        broken.coalesce(1).write.mode("overwrite").json(folder)
    return first


def figures_of(results: DataFrame, earlier: Earlier) -> Figures:
    """Pictures, those with features, broken ones, classes with their number of pictures."""
    counted = results.groupBy("label").agg({"path": "count", "reason": "count"}).collect()
    rows = [(row["label"], row["count(path)"], row["count(reason)"]) for row in counted]
    pictures, broken = sum(row[1] for row in rows), sum(row[2] for row in rows)
    classes = Counter({label: seen - bad for label, seen, bad in rows if label and seen > bad})
    classes.update(earlier.classes)
    return {
        "pictures": pictures + len(earlier.paths),
        "features": pictures - broken + len(earlier.paths),
        "broken": broken,
        "kept": len(earlier.paths),
        "classes": dict(sorted(classes.items())),
    }


def export(
    args: argparse.Namespace, files: Files, results: DataFrame, earlier: Earlier, steps: Steps
) -> Figures:
    """Write features and broken pictures; the figures of result.json."""
    good = results.where("reason is null").select("path", "label", "features")
    folder = join(args.output, "features")
    if not earlier.paths:
        files.delete(folder)
    # Until all is written there is no result: a run that was cut off is not taken for a whole one.
    files.delete(join(args.output, "result.json"))
    with steps.step("extract and export"):
        write_features(files, good.withMetadata("features", args.metadata), folder, args.format)
    with steps.step("account"):
        first_broken = write_broken(files, results, join(args.output, "broken"))
        sample = good.select("features").first()
        return {
            **figures_of(results, earlier),
            "dimension": len(sample["features"]) if sample else earlier.dimension,
            "first_broken": first_broken,
        }


def work(args: argparse.Namespace, spark: SparkSession, steps: Steps) -> None:
    """Read, extract what is missing, write, report."""
    _common.ship(spark, _common, _earlier, _extractors, _networks, _pictures)
    files = Files(spark)
    extractor = _extractors.make(spark, vars(args) | {"name": args.extractor})
    partitions = _common.partitions(spark, args.partitions)
    with steps.step("list"):
        found = find(files, args.input)
        raw = read(spark, args.input, found, partitions)
        root = root_of(files.qualified(args.input), found.names)
        earlier = _earlier.of(spark, args, extractor.settings(), Inputs(root, found.names))
    steps.say(earlier.told())
    done = spark.sparkContext.broadcast(earlier.paths)
    results = raw.mapInPandas(extraction(Reading(extractor, args.labels, root), done), VECTORS)
    results = results.persist(StorageLevel.MEMORY_AND_DISK)  # several readers, one extraction
    args.metadata = {"extractor": extractor.settings()}
    figures = export(args, files, results, earlier, steps)
    del args.metadata
    results.unpersist()
    figures.update(files=len(found.names), partitions=partitions, extractor=extractor.settings())
    counts = f"{figures['features']} of {figures['pictures']} pictures, {figures['broken']} broken"
    steps.say(counts)
    steps.finish(files, args, figures)
    if not figures["features"]:
        first = next(iter(figures["first_broken"]), {"path": args.input, "reason": "empty archive"})
        raise JobError(f"no picture could be read; {first['path']}: {first['reason']}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, checked."""
    parser = _common.parser("features", "Pictures to feature vectors, in parallel.")
    parser.add_argument(
        "--input",
        required=True,
        metavar="PATH",
        help="pictures, or .tar, .tgz, .zip archives of them",
    )
    _extractors.add_arguments(parser)
    parser.add_argument("--anew", action="store_true", help="do what is there already once more")
    parser.add_argument(
        "--labels",
        choices=("auto", "name", "folder"),
        default="auto",
        help="class of a picture: its name up to the last _<n>, its folder, or the first there is",
    )
    parser.add_argument("--format", choices=("parquet", "json"), default="parquet")
    args = parser.parse_args(argv)
    args.size = args.size or _extractors.default_size(args.extractor)
    problem = _extractors.problem(args.extractor, args.size)
    if problem:
        parser.error(f"--size {args.size}: {problem}")
    if args.format == "json" and args.labels == "folder":
        parser.error("--labels folder: JSON features carry their class in the file's name alone")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the job; 0, or 2 when its arguments or its input are at fault."""
    args = parse(argv)
    steps = Steps("features")

    def body() -> None:
        _common.require("numpy", "pandas", "pyarrow", *_extractors.modules(args.extractor))
        with _common.session() as spark:
            work(args, spark, steps)

    return _common.run("features", body)


if __name__ == "__main__":
    sys.exit(main())
