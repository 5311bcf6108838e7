"""Read pictures, and pictures in archives, as rows of a DataFrame, and decode them."""

from __future__ import annotations

import argparse
import io
import itertools
import re
import tarfile
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession

from common.files import HadoopFiles, join, label_of, relative
from common.job import JobError
from features.extractors import FeatureExtractor

if TYPE_CHECKING:
    import pandas as pd  # imported at run time after `require` has checked that it is installed

PICTURES = ("jpg", "jpeg", "png", "gif", "bmp", "webp", "tif", "tiff", "ppm")
ARCHIVES = ("tar", "tar.gz", "tgz", "zip")
BATCH = 64  # pictures of an archive in one table
ENCODED = "path string, content binary, reason string"
Tables = Iterator["pd.DataFrame"]
EncodedRow = tuple[str, "bytes | None", "str | None"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose pictures and their classes."""
    parser.add_argument(
        "--input",
        required=True,
        metavar="PATH",
        help="pictures, or .tar, .tgz or .zip archives of pictures",
    )
    parser.add_argument(
        "--labels",
        choices=("auto", "name", "folder"),
        default="auto",
        help="class of a picture: file name up to the last _<n>, folder, or auto: name, else "
        "folder (default: auto)",
    )


class PictureListing(NamedTuple):
    """Pictures and archives below the input."""

    root: str  # folder that the paths of pictures are relative to
    names: list[str]  # qualified names of all files
    empty: list[str]  # names of the empty files among them


def has_extension(name: str, extensions: tuple[str, ...]) -> bool:
    """Return whether a file has one of the extensions, in any case. Hidden files have none."""
    leaf = name.rpartition("/")[2].lower()
    return not leaf.startswith(".") and leaf.endswith(tuple("." + end for end in extensions))


def glob_of(extensions: tuple[str, ...]) -> str:
    """Return a Hadoop glob pattern for names with one of the extensions, in any case."""

    def any_case(letter: str) -> str:
        return f"[{letter}{letter.upper()}]" if letter.isalpha() else letter

    return "*.{" + ",".join("".join(map(any_case, end)) for end in extensions) + "}"


def find(files: HadoopFiles, path: str) -> PictureListing:
    """List the pictures and archives below a path.

    Raises:
        JobError: There are none.
    """
    if not files.exists(path):
        raise JobError(f"--input {path}: no such file or folder")
    sizes = {
        name: size
        for name, size in files.list_files(path)
        if has_extension(name, PICTURES + ARCHIVES)
    }
    if not sizes:
        extensions = ", ".join(PICTURES + ARCHIVES)
        raise JobError(f"--input {path}: no pictures or archives there ({extensions})")
    names = list(sizes)
    base = files.qualified(path)
    root = base.rpartition("/")[0] if names == [base] else base
    return PictureListing(root, names, [name for name in names if not sizes[name]])


def read(spark: SparkSession, path: str, listing: PictureListing, partitions: int) -> DataFrame:
    """Read pictures as ENCODED, in `partitions` partitions, plus one for empty files."""
    rows = read_nonempty(spark, path, listing.names, partitions)
    if not listing.empty:
        return rows
    # Spark skips empty files silently; report them as unreadable.
    empty = [(name, None, "empty file") for name in listing.empty]
    return rows.union(spark.createDataFrame(empty, ENCODED).coalesce(1))


def read_nonempty(spark: SparkSession, path: str, names: list[str], partitions: int) -> DataFrame:
    """Read pictures that are not empty as ENCODED, in `partitions` partitions."""
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    source = reader.option("pathGlobFilter", glob_of(PICTURES + ARCHIVES)).load(path)
    rows = source.selectExpr("path", "content", "cast(null as string) as reason")
    # Spark puts at most 32 small files into a partition (openCostInBytes is 4 MB), so there are
    # usually more partitions than requested: coalesce them without a shuffle. Archives, and files
    # too few for that, are shuffled.
    if any(has_extension(name, ARCHIVES) for name in names):
        return rows.mapInPandas(unpack_archives, ENCODED).repartition(partitions)
    if source.rdd.getNumPartitions() >= partitions:
        return rows.coalesce(partitions)
    return rows.repartition(partitions)


# ---- archives ------------------------------------------------------------------------------------


def unpack_archives(tables: Tables) -> Tables:
    """Replace archives by their pictures (for mapInPandas: ENCODED to ENCODED)."""
    for table in tables:
        packed = table["path"].map(lambda path: has_extension(path, ARCHIVES)).astype(bool)
        yield table[~packed]
        for path, content in table.loc[packed, ["path", "content"]].itertuples(index=False):
            yield from unpack(path, content)


def unpack(path: str, content: bytes) -> Tables:
    """Return the pictures of an archive as ENCODED; an unreadable archive is one row."""
    folder = path.rpartition("/")[0]
    rows: list[EncodedRow] = []
    try:
        for name, picture in archive_members(path, content):
            rows.append((join(folder, name), picture, None))
            if len(rows) == BATCH:
                yield encoded_table(rows)
                rows = []
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        rows.append((path, None, f"archive: {error}"))
    yield encoded_table(rows)


def archive_members(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Return name and content of each picture in an archive. Nothing is written to disk."""
    if name.lower().endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as zipped:
            for entry in zipped.infolist():
                if not entry.is_dir() and has_extension(entry.filename, PICTURES):
                    yield entry.filename, zipped.read(entry)
        return
    with tarfile.open(fileobj=io.BytesIO(content)) as tarred:
        for member in tarred:
            stream = tarred.extractfile(member) if member.isfile() else None
            if stream and has_extension(member.name, PICTURES):
                yield member.name, stream.read()


def encoded_table(rows: list[EncodedRow]) -> pd.DataFrame:
    """Return rows of ENCODED as a table."""
    import pandas as pd

    return pd.DataFrame(rows, columns=["path", "content", "reason"])


# ---- decoding ------------------------------------------------------------------------------------


class DecodedPicture(NamedTuple):
    """A decoded picture, or the reason why it could not be decoded."""

    path: str
    label: str | None
    pixels: Any
    reason: str | None


class PictureReader(NamedTuple):
    """Decodes rows of ENCODED."""

    extractor: FeatureExtractor  # decodes the pictures
    labels: str  # source of the class of a picture: `auto`, `name` or `folder`
    root: str  # folder that paths are relative to
    label_required: bool = True  # whether a picture without a class is an error

    def batches(
        self, tables: Tables, skipped_paths: frozenset[str]
    ) -> Iterator[list[DecodedPicture]]:
        """Decode pictures, except the skipped ones, in batches of the extractor's size."""
        pictures = self._pictures(tables, skipped_paths)
        yield from iter(lambda: list(itertools.islice(pictures, self.extractor.batch)), [])

    def _pictures(self, tables: Tables, skipped_paths: frozenset[str]) -> Iterator[DecodedPicture]:
        for table in tables:
            for name, content, reason in table.itertuples(index=False, name=None):
                path = relative(self.root, name)
                if path in skipped_paths:
                    continue
                if reason is None:
                    yield self._decode(path, content)
                else:
                    yield DecodedPicture(path, None, None, reason)

    def _decode(self, path: str, content: bytes | None) -> DecodedPicture:
        label = label_of(path, self.labels)
        if label is None and self.label_required:
            reason = "no class in its name: neither <class>_<n> nor in a folder"
            return DecodedPicture(path, None, None, reason)
        try:
            return DecodedPicture(path, label, self.extractor.prepare(content or b""), None)
        except Exception as error:  # noqa: BLE001 - a decoder may raise anything; the job continues
            text = re.sub(r" <[^<>]* at 0x[0-9a-f]+>", "", str(error))  # Pillow names its buffer
            return DecodedPicture(path, label, None, f"{type(error).__name__}: {text}")
