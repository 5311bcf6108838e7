"""Pictures and archives of them below a path, as rows (path, content, reason) of a DataFrame."""

from __future__ import annotations

import io
import itertools
import re
import tarfile
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from _common import Files, JobError, join, label_of, relative
from _extractors import Extractor
from pyspark.sql import DataFrame, SparkSession

if TYPE_CHECKING:
    import pandas as pd  # imported where it is used: `require` must be able to say that it lacks

PICTURES = ("jpg", "jpeg", "png", "gif", "bmp", "webp", "tif", "tiff", "ppm")
ARCHIVES = ("tar", "tar.gz", "tgz", "zip")
BATCH = 64  # pictures out of an archive at once
RAW = "path string, content binary, reason string"
Table = Iterator["pd.DataFrame"]


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


# ---- decoded -------------------------------------------------------------------------------------


class Picture(NamedTuple):
    """A picture on its way: decoded, or with the reason why not."""

    path: str
    label: str | None
    pixels: Any
    reason: str | None


class Reading(NamedTuple):
    """How rows of RAW become pictures.

    Attributes:
        extractor: It decodes them as it likes them.
        labels: Where a picture's class is told.
        root: The folder that paths are told from.
        named: Whether a picture without a class is of no use.
    """

    extractor: Extractor
    labels: str
    root: str
    named: bool = True

    def batches(self, tables: Table, done: frozenset[str]) -> Iterator[list[Picture]]:
        """The pictures of RAW, but for those done, so many at a time as the extractor likes."""
        every = self._pictures(tables, done)
        yield from iter(lambda: list(itertools.islice(every, self.extractor.batch)), [])

    def _pictures(self, tables: Table, done: frozenset[str]) -> Iterator[Picture]:
        for table in tables:
            for whole, content, reason in table.itertuples(index=False, name=None):
                path = relative(self.root, whole)
                if path in done:
                    continue
                if reason is None:
                    yield self._decoded(path, content)
                else:
                    yield Picture(path, None, None, reason)

    def _decoded(self, path: str, content: bytes | None) -> Picture:
        """Decode a picture; whatever Pillow has against it becomes the reason."""
        label = label_of(path, self.labels)
        if label is None and self.named:
            reason = "no class in its name: neither <class>_<n> nor in a folder"
            return Picture(path, None, None, reason)
        try:
            return Picture(path, label, self.extractor.prepare(content or b""), None)
        except Exception as error:  # noqa: BLE001 - a picture may break a decoder in any way; the job goes on
            told = re.sub(r" <[^<>]* at 0x[0-9a-f]+>", "", str(error))  # Pillow names its buffer
            return Picture(path, label, None, f"{type(error).__name__}: {told}")
