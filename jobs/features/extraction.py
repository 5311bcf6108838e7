"""Convert pictures to feature vectors, in parallel.

--input contains pictures (`<class>_<n>.jpg` or `<class>/<file>`, at any depth), or archives of them
(.tar, .tar.gz, .tgz, .zip, each below 2 GB). Reading an object takes three requests to an object
store, so archives are faster than thousands of small objects.

Output, below --output:
  features/    Parquet (path, label, features: list of float32; the extractor and the hash of its
               weights in the metadata of the column `features`); or, with --format json, one JSON
               list for each picture (`<class>_<n>.jpg.json`), written by the driver
  broken/      path, label and reason of each unreadable picture (JSON lines; absent if there are
               none)
  result.json  step durations, counts, settings of the extractor

A second run with the same --output extracts new, changed and previously unreadable pictures only.
It extracts all pictures if settings differ or pictures were removed.

`path` is relative to --input (for a picture in an archive: as if the archive had been unpacked in
its folder), so the same data have the same paths in any bucket. Each Python worker holds up to
spark.sql.execution.arrow.maxRecordsPerBatch encoded pictures: lower it for large photographs.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy as np
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

from common import job
from common.files import WRITERS, HadoopFiles, join, label_of, relative
from common.job import JobError, JobLog
from features import extractors, pictures
from features.extractors import FeatureExtractor
from features.pictures import (
    ARCHIVES,
    DecodedPicture,
    PictureListing,
    PictureReader,
    Tables,
    has_extension,
)

if TYPE_CHECKING:
    import pandas as pd  # imported at run time after `require` has checked that it is installed

VECTORS = "path string, label string, features array<float>, reason string"
COMPARED_ARGUMENTS = ("input", "labels", "format")  # the rows depend on them and on the extractor
Figures = dict[str, Any]


def vectors(batch: list[DecodedPicture], extractor: FeatureExtractor) -> pd.DataFrame:
    """Return rows of VECTORS for a batch of pictures; unreadable ones have only a reason."""
    import pandas as pd

    pixels = [picture.pixels for picture in batch if picture.reason is None]
    rows: Iterator[Any] = iter(())
    if pixels:
        rows = iter(extractor.features(np.stack(pixels)).astype(np.float32))
    return pd.DataFrame(
        {
            "path": [picture.path for picture in batch],
            "label": [picture.label for picture in batch],
            "features": [next(rows) if picture.reason is None else None for picture in batch],
            "reason": [picture.reason for picture in batch],
        }
    )


def extraction(reader: PictureReader, skipped_paths: Any) -> Callable[[Tables], Tables]:
    """Return a function for mapInPandas that converts ENCODED to VECTORS.

    `skipped_paths` is a broadcast of the paths whose features exist.
    """

    def extract(tables: Tables) -> Tables:
        for batch in reader.batches(tables, skipped_paths.value):
            yield vectors(batch, reader.extractor)

    return extract


def write_features(files: HadoopFiles, rows: DataFrame, folder: str, file_format: str) -> None:
    """Write Parquet from the executors, or JSON files from the driver.

    JSON needs the driver: a Python worker cannot access Hadoop file systems, and Spark chooses the
    names of the files it writes.
    """
    if file_format == "parquet":
        rows.write.mode("append").parquet(folder)
        return

    def write(row: Any) -> None:
        files.write(join(folder, f"{row['path']}.json"), json.dumps(row["features"]).encode())

    iterator = rows.toLocalIterator(prefetchPartitions=True)
    with ThreadPoolExecutor(WRITERS) as pool:
        # In chunks: otherwise the pool would hold all vectors in the driver's memory.
        for chunk in iter(lambda: list(itertools.islice(iterator, WRITERS * 16)), []):
            list(pool.map(write, chunk))


def write_broken(files: HadoopFiles, results: DataFrame, folder: str) -> list[dict[str, str]]:
    """Write path, label and reason of unreadable pictures as JSON lines. Return the first ten."""
    broken = results.where("reason is not null").select("path", "label", "reason")
    files.delete(folder)
    first = [row.asDict() for row in broken.orderBy("path").limit(10).collect()]
    if first:
        broken.coalesce(1).write.mode("overwrite").json(folder)
    return first


# ---- features of an earlier run ------------------------------------------------------------------


class PreviousFeatures(NamedTuple):
    """Classes of the pictures whose features exist, by path; the reason if there are none."""

    labels: dict[str, str]
    dimension: int | None
    reason: str

    def message(self) -> str:
        """Return a line for the log."""
        if self.labels:
            return f"reusing the features of {len(self.labels)} pictures from an earlier run"
        return f"extracting all pictures: {self.reason}"


def find_previous(
    spark: SparkSession, args: argparse.Namespace, settings: dict[str, Any], listing: PictureListing
) -> PreviousFeatures:
    """Return the features in --output that have the same settings and are newer than the pictures.

    A picture in an archive is as old as the archive; removed pictures are not detected there.
    """
    files = HadoopFiles(spark)
    result_path = join(args.output, "result.json")
    if args.anew:
        return PreviousFeatures({}, None, "--anew")
    if not files.exists(result_path):
        return PreviousFeatures({}, None, "no earlier output")
    result = json.loads(files.read(result_path))
    compared = {name: getattr(args, name) for name in COMPARED_ARGUMENTS}
    same_arguments = compared.items() <= result["arguments"].items()
    if result["figures"].get("extractor") != settings or not same_arguments:
        return PreviousFeatures({}, None, "the earlier run had other settings")
    labels = written_labels(spark, files, join(args.output, "features"))
    (written_at,) = files.modification_times(result_path).values()
    times = {
        relative(listing.root, name): time
        for name, time in files.modification_times(args.input).items()
    }
    packed = any(has_extension(name, ARCHIVES) for name in listing.names)
    if any(time >= written_at and (packed or path in labels) for path, time in times.items()):
        return PreviousFeatures({}, None, "pictures have changed since the earlier run")
    if not packed and not labels.keys() <= times.keys():
        return PreviousFeatures({}, None, "pictures have been removed since the earlier run")
    return PreviousFeatures(labels, result["figures"].get("dimension"), "")


def written_labels(spark: SparkSession, files: HadoopFiles, folder: str) -> dict[str, str]:
    """Return the label of each path in a folder of features."""
    names = [name for name, _ in files.list_files(folder)] if files.exists(folder) else []
    if any(name.endswith(".parquet") for name in names):
        rows = spark.read.parquet(folder).select("path", "label").collect()
        return {row["path"]: row["label"] for row in rows}
    base = files.qualified(folder)
    paths = [relative(base, name)[: -len(".json")] for name in names if name.endswith(".json")]
    return {path: label_of(path) or "" for path in paths}


# ---- the job -------------------------------------------------------------------------------------


def figures_of(results: DataFrame, previous: PreviousFeatures) -> Figures:
    """Count pictures, features, unreadable pictures and pictures by class."""
    counts = results.groupBy("label").agg({"path": "count", "reason": "count"}).collect()
    rows = [(row["label"], row["count(path)"], row["count(reason)"]) for row in counts]
    total, broken = sum(row[1] for row in rows), sum(row[2] for row in rows)
    classes = Counter({label: n - bad for label, n, bad in rows if label and n > bad})
    classes.update(previous.labels.values())
    return {
        "pictures": total + len(previous.labels),
        "features": total - broken + len(previous.labels),
        "broken": broken,
        "kept": len(previous.labels),
        "classes": dict(sorted(classes.items())),
    }


def export(
    args: argparse.Namespace,
    files: HadoopFiles,
    results: DataFrame,
    settings: dict[str, Any],
    previous: PreviousFeatures,
    log: JobLog,
) -> Figures:
    """Write features and unreadable pictures. Return figures for result.json."""
    metadata = {"extractor": settings}
    good = results.where("reason is null").select("path", "label", "features")
    folder = join(args.output, "features")
    if not previous.labels:
        files.delete(folder)
    # result.json exists only beside complete features: a later run relies on it.
    files.delete(join(args.output, "result.json"))
    with log.step("extract and export"):
        write_features(files, good.withMetadata("features", metadata), folder, args.format)
    with log.step("account"):
        first_broken = write_broken(files, results, join(args.output, "broken"))
        sample = good.select("features").first()
        return {
            **figures_of(results, previous),
            "extractor": settings,
            "dimension": len(sample["features"]) if sample else previous.dimension,
            "first_broken": first_broken,
        }


def extract_features(args: argparse.Namespace, spark: SparkSession, log: JobLog) -> None:
    """Read the pictures, extract missing features and write the results.

    Raises:
        JobError: No picture could be read.
    """
    files = HadoopFiles(spark)
    extractor = extractors.create(spark, vars(args) | {"name": args.extractor})
    settings = extractor.settings()
    partitions = job.partitions(spark, args.partitions)
    with log.step("list"):
        listing = pictures.find(files, args.input)
        encoded = pictures.read(spark, args.input, listing, partitions)
        previous = find_previous(spark, args, settings, listing)
    log.write(previous.message())
    skipped_paths = spark.sparkContext.broadcast(frozenset(previous.labels))
    reader = PictureReader(extractor, args.labels, listing.root)
    results = encoded.mapInPandas(extraction(reader, skipped_paths), VECTORS)
    results = results.persist(StorageLevel.MEMORY_AND_DISK)  # read several times below
    figures = export(args, files, results, settings, previous, log)
    results.unpersist()
    figures.update(files=len(listing.names), partitions=partitions)
    log.write(
        f"{figures['features']} of {figures['pictures']} pictures, {figures['broken']} broken"
    )
    log.write_result(files, args, figures)
    if not figures["features"]:
        first = next(iter(figures["first_broken"]), {"path": args.input, "reason": "empty archive"})
        raise JobError(f"no picture could be read; {first['path']}: {first['reason']}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse and check the arguments."""
    parser = job.argument_parser("features", "Convert pictures to feature vectors, in parallel.")
    pictures.add_arguments(parser)
    extractors.add_arguments(parser)
    parser.add_argument(
        "--anew", action="store_true", help="extract all pictures, even if features exist"
    )
    parser.add_argument(
        "--format",
        choices=("parquet", "json"),
        default="parquet",
        help="output format (default: parquet)",
    )
    args = parser.parse_args(argv)
    args.size = args.size or extractors.default_size(args.extractor)
    problem = extractors.size_problem(args.extractor, args.size)
    if problem:
        parser.error(f"--size {args.size}: {problem}")
    if args.format == "json" and args.labels == "folder":
        parser.error("--labels folder: JSON features store the class in the file name only")
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the job. Return 0, or 2 after an error in the arguments or the input."""
    args = parse(argv)
    modules = ("numpy", "pandas", "pyarrow", *extractors.modules(args.extractor, args.backend))
    return job.run_job("features", modules, partial(extract_features, args))
