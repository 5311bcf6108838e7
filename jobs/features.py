"""Pictures to feature vectors, in parallel.

features.py --input PATH --output PATH [--extractor hog] [--size 64] [--labels auto|name|folder]
            [--format parquet|json] [--partitions N]

PATH holds pictures (`<class>_<n>.jpg` or `<class>/<file>`, at any depth), or archives of them
(.tar, .tar.gz, .tgz, .zip, each below 2 GB): thousands of small objects cost an object store three
requests each, an archive three in all.

Writes, below --output:
  features/    Parquet (path, label, features: list of float32); or, with --format json, one JSON
               list for each picture (`<class>_<n>.jpg.json`), written through the driver
  broken/      path, label and reason of each picture that could not be read (JSON lines; absent
               when there is none)
  result.json  times and counts, the extractor's settings

`path` is relative to --input (for a picture in an archive: as if that had been unpacked where it
lies), so the same data have the same paths in any bucket. Each Python worker holds up to
spark.sql.execution.arrow.maxRecordsPerBatch pictures as files: lower it for large photographs.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import _common
import _extractors
import numpy as np
from _common import Files, JobError, Steps, join
from _extractors import EXTRACTORS, Extractor
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

if TYPE_CHECKING:
    import pandas as pd  # imported where it is used: `require` must be able to say that it lacks

PICTURES = ("jpg", "jpeg", "png", "gif", "bmp", "webp", "tif", "tiff", "ppm")
ARCHIVES = ("tar", "tar.gz", "tgz", "zip")
WRITERS = 8  # JSON files on their way at once: an object store's time is waiting
BATCH = 64  # pictures given to an extractor at once
RAW = "path string, content binary, reason string"
VECTORS = "path string, label string, features array<float>, reason string"
Table = Iterator["pd.DataFrame"]
Figures = dict[str, Any]


# ---- what is read --------------------------------------------------------------------------------


def is_kind(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a file's name has one of the endings, in any case; hidden files have none."""
    leaf = name.rpartition("/")[2].lower()
    return not leaf.startswith(".") and leaf.endswith(tuple("." + ending for ending in endings))


def glob_of(endings: tuple[str, ...]) -> str:
    """A Hadoop pattern for names with one of the endings, in upper or lower case."""

    def letter(sign: str) -> str:
        return f"[{sign}{sign.upper()}]" if sign.isalpha() else sign

    return "*.{" + ",".join("".join(map(letter, ending)) for ending in endings) + "}"


def members(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture in an archive; nothing is unpacked to a disk."""
    if name.lower().endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as zipped:
            for entry in zipped.infolist():
                if not entry.is_dir() and is_kind(entry.filename, PICTURES):
                    yield entry.filename, zipped.read(entry)
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as tarred:
        for item in tarred:
            inside = tarred.extractfile(item) if item.isfile() else None
            if inside and is_kind(item.name, PICTURES):
                yield item.name, inside.read()


def unpacked(path: str, content: bytes) -> Table:
    """The pictures of one archive as rows of RAW; a damaged archive is one row with its reason."""
    folder = path.rpartition("/")[0]
    rows: list[tuple[str, bytes | None, str | None]] = []
    try:
        for name, picture in members(path, content):
            rows.append((join(folder, name), picture, None))
            if len(rows) == BATCH:
                yield raw_table(rows)
                rows = []
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        rows.append((path, None, f"archive: {error}"))
    yield raw_table(rows)


def raw_table(rows: list[tuple[str, bytes | None, str | None]]) -> pd.DataFrame:
    """Rows of RAW as a table."""
    import pandas as pd

    return pd.DataFrame(rows, columns=["path", "content", "reason"])


def opened(tables: Table) -> Table:
    """For mapInPandas: RAW in and out, archives replaced by their pictures."""
    for table in tables:
        packed = table["path"].map(lambda path: is_kind(path, ARCHIVES)).astype(bool)
        yield table[~packed]
        for path, content in table.loc[packed, ["path", "content"]].itertuples(index=False):
            yield from unpacked(path, content)


class Found(NamedTuple):
    """Pictures and archives below the input, and those of them that are empty files."""

    names: list[str]
    empty: list[str]


def find(files: Files, path: str) -> Found:
    """The pictures and archives below a path; none is the user's mistake."""
    if not files.exists(path):
        raise JobError(f"--input {path}: no such file or folder")
    listed = list(files.listed(path))
    found = [(name, size) for name, size in listed if is_kind(name, PICTURES + ARCHIVES)]
    if not found:
        endings = ", ".join(PICTURES + ARCHIVES)
        raise JobError(f"--input {path}: no pictures or archives there ({endings})")
    return Found([name for name, _ in found], [name for name, size in found if not size])


def root_of(base: str, found: list[str]) -> str:
    """The folder that paths are told from: the input, or what the one input file lies in."""
    return base.rpartition("/")[0] if found == [base] else base


def read(spark: SparkSession, path: str, found: Found, partitions: int) -> DataFrame:
    """Pictures below a path as RAW, in `partitions` partitions, and one more for empty files."""
    full = read_full(spark, path, found.names, partitions)
    if not found.empty:
        return full
    # Spark passes over them in silence; here every file is accounted for.
    rows = [(name, None, "empty file") for name in found.empty]
    return full.union(spark.createDataFrame(rows, RAW).coalesce(1))


def read_full(spark: SparkSession, path: str, names: list[str], partitions: int) -> DataFrame:
    """Pictures below a path as RAW, in `partitions` partitions."""
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    source = reader.option("pathGlobFilter", glob_of(PICTURES + ARCHIVES)).load(path)
    raw = source.selectExpr("path", "content", "cast(null as string) as reason")
    # Spark packs at most 32 small files into a partition (4 MB of "open cost" each), so there are
    # mostly more partitions than asked for: those are joined without moving a byte. Archives, and
    # files too few for that, are dealt out.
    if any(is_kind(name, ARCHIVES) for name in names):
        return raw.mapInPandas(opened, RAW).repartition(partitions)
    if source.rdd.getNumPartitions() >= partitions:
        return raw.coalesce(partitions)
    return raw.repartition(partitions)


# ---- what is made of it --------------------------------------------------------------------------


class Picture(NamedTuple):
    """A picture on its way: decoded, or with the reason why not."""

    path: str
    label: str | None
    pixels: Any
    reason: str | None


def decode(path: str, content: bytes | None, labels: str, extractor: Extractor) -> Picture:
    """Decode a picture; whatever Pillow has against it becomes the reason."""
    label = _common.label_of(path, labels)
    if label is None:
        return Picture(
            path, None, None, "no class in its name: neither <class>_<n> nor in a folder"
        )
    try:
        return Picture(path, label, extractor.prepare(content or b""), None)
    except Exception as error:  # noqa: BLE001 - a picture may break a decoder in any way; the job goes on
        told = re.sub(r" <[^<>]* at 0x[0-9a-f]+>", "", str(error))  # Pillow names its buffer
        return Picture(path, label, None, f"{type(error).__name__}: {told}")


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


def extraction(extractor: Extractor, labels: str, root: str) -> Callable[[Table], Table]:
    """For mapInPandas: RAW in, VECTORS out, in batches of the size that extractors like."""

    def pictures(tables: Table) -> Iterator[Picture]:
        for table in tables:
            for whole, content, reason in table.itertuples(index=False, name=None):
                path = _common.relative(root, whole)
                if reason is None:
                    yield decode(path, content, labels, extractor)
                else:
                    yield Picture(path, None, None, reason)

    def extracted(tables: Table) -> Table:
        every = pictures(tables)
        while True:
            batch = list(itertools.islice(every, BATCH))
            if not batch:
                return
            yield vectors(batch, extractor)

    return extracted


# ---- what is written -----------------------------------------------------------------------------


def write_features(files: Files, good: DataFrame, folder: str, form: str) -> None:
    """Write the features: Parquet from the executors, JSON (the lecture's form) through the driver.

    A Python worker has no way to Hadoop's file systems, and Spark names its own files.
    """
    files.delete(folder)
    if form == "parquet":
        good.write.mode("overwrite").parquet(folder)
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


def figures_of(results: DataFrame) -> dict[str, Any]:
    """Pictures, those with features, broken ones, classes with their number of pictures."""
    counted = results.groupBy("label").agg({"path": "count", "reason": "count"}).collect()
    rows = [(row["label"], row["count(path)"], row["count(reason)"]) for row in counted]
    pictures, broken = sum(row[1] for row in rows), sum(row[2] for row in rows)
    classes = {label: seen - bad for label, seen, bad in rows if label and seen > bad}
    return {
        "pictures": pictures,
        "features": pictures - broken,
        "broken": broken,
        "classes": dict(sorted(classes.items())),
    }


def export(args: argparse.Namespace, files: Files, results: DataFrame, steps: Steps) -> Figures:
    """Write features and broken pictures; the figures of result.json."""
    good = results.where("reason is null").select("path", "label", "features")
    with steps.step("extract and export"):
        write_features(files, good, join(args.output, "features"), args.format)
    with steps.step("account"):
        first_broken = write_broken(files, results, join(args.output, "broken"))
        sample = good.select("features").first()
        return {
            **figures_of(results),
            "dimension": len(sample["features"]) if sample else None,
            "first_broken": first_broken,
        }


def work(args: argparse.Namespace, spark: SparkSession, steps: Steps) -> None:
    """Read, extract, write, report."""
    _common.ship(spark, _common, _extractors)
    files = Files(spark)
    extractor = EXTRACTORS[args.extractor](args.size)
    partitions = _common.partitions(spark, args.partitions)
    with steps.step("list"):
        found = find(files, args.input)
        raw = read(spark, args.input, found, partitions)
    root = root_of(files.qualified(args.input), found.names)
    results = raw.mapInPandas(extraction(extractor, args.labels, root), VECTORS)
    results = results.persist(StorageLevel.MEMORY_AND_DISK)  # several readers, one extraction
    figures = export(args, files, results, steps)
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
    parser.add_argument("--extractor", choices=sorted(EXTRACTORS), default="hog")
    parser.add_argument("--size", type=_common.positive_int, default=64, metavar="PIXELS")
    parser.add_argument(
        "--labels",
        choices=("auto", "name", "folder"),
        default="auto",
        help="class of a picture: its name up to the last _<n>, its folder, or the first there is",
    )
    parser.add_argument("--format", choices=("parquet", "json"), default="parquet")
    args = parser.parse_args(argv)
    problem = EXTRACTORS[args.extractor].problem(args.size)
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
        _common.require("numpy", "pandas", "pyarrow", "PIL", "skimage")
        with _common.session() as spark:
            work(args, spark, steps)

    return _common.run("features", body)


if __name__ == "__main__":
    sys.exit(main())
