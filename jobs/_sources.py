"""Where feature vectors come from: Parquet, or one JSON list for each picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple

import _common
import numpy as np
from _common import Files, JobError, join
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col

WHOLE_BYTES = 128 << 20  # of a Parquet file that one task takes in one piece
Array = np.ndarray[Any, Any]
Batches = Callable[[Any], Iterator[Any]]


class Source(NamedTuple):
    """Features found: (path, label) of each row, and how to read those of some classes.

    Attributes:
        rows: (path, label).
        double: Whether the numbers are float64; else float32.
        whole: Whether Spark reads whole files (path, content); else path, label, features.
        raw: What Spark reads, of some classes or of all.
        batches: For mapInArrow, with the classes: what Spark read to path, label, features.
    """

    rows: list[tuple[str, str]]
    double: bool
    whole: bool
    raw: Callable[[Sequence[str]], DataFrame]
    batches: Callable[[frozenset[str]], Batches]

    def classes(self) -> list[str]:
        """The classes there are, in the order of their names."""
        return sorted({label for _, label in self.rows})

    def frame(self, classes: Sequence[str]) -> DataFrame:
        """path, label and features as a DataFrame, whose rows Spark can move."""
        kind = "double" if self.double else "float"
        schema = f"path string, label string, features array<{kind}>"
        return self.raw(classes).mapInArrow(self.batches(frozenset(classes)), schema)


def find(spark: SparkSession, files: Files, path: str, partitions: int) -> Source:
    """The features at a path: what the features job wrote (--output or its `features`), or alike.

    Raises:
        JobError: There are none, or they are not what they must be.
    """
    if not files.exists(path):
        raise JobError(f"--features {path}: no such file or folder")
    inner = join(path, "features")
    folder = inner if files.exists(inner) else path
    sizes = dict(files.listed(folder))
    names = list(sizes)
    if any(name.endswith(".parquet") for name in names):
        found = from_parquet(spark, folder, max(sizes.values()))
    elif any(name.endswith(".json") for name in names):
        empty = [name for name, size in sizes.items() if name.endswith(".json") and not size]
        if empty:  # Spark would pass over it in silence
            raise JobError(f"{empty[0]}: an empty file")
        found = from_json(spark, files.qualified(folder), names, partitions)
    else:
        raise JobError(f"--features {path}: no Parquet and no JSON features there")
    check(path, found)
    return found


def extractor_of(files: Files, path: str) -> dict[str, Any] | None:
    """The extractor's settings, from the features job's result.json beside or above; None."""
    above = path.rstrip("/").rpartition("/")[0] or "."
    for folder in (path, above):
        name = join(folder, "result.json")
        if files.exists(name):
            told: dict[str, Any] = json.loads(files.read(name))
            made = told.get("figures", {}).get("extractor")
            return dict(made) if made and told.get("job") == "features" else None
    return None


def check(path: str, source: Source) -> None:
    """Rows there are, each with a class, none twice: a twin in the test part would be known."""
    if not source.rows:
        raise JobError(f"--features {path}: no rows")
    seen: set[tuple[str, str]] = set()
    for row in source.rows:
        if None in row:
            raise JobError(f"--features {path}: {row[0]} has no class")
        if row in seen:
            raise JobError(f"--features {path}: {row[0]} ({row[1]}) comes more than once")
        seen.add(row)


def from_parquet(spark: SparkSession, folder: str, largest: int) -> Source:
    """path, label and features of Parquet files, wherever they came from.

    Files of a usual size go to Python whole, and Arrow reads them there: Spark's own way, number by
    number into rows and back into columns, took five times as long.
    """
    frame = spark.read.option("recursiveFileLookup", "true").parquet(folder)
    kinds = dict(frame.dtypes)
    missing = [name for name in ("path", "label", "features") if name not in kinds]
    if missing:
        raise JobError(f"{folder}: no column {', '.join(missing)} among {', '.join(kinds)}")
    if kinds["features"] not in ("array<float>", "array<double>"):
        raise JobError(f"{folder}: features are {kinds['features']}, not a list of float or double")
    rows = frame.selectExpr("path", "cast(label as string) as label", "features")
    named = [(row["path"], row["label"]) for row in rows.select("path", "label").collect()]
    double = kinds["features"] == "array<double>"
    if largest > WHOLE_BYTES:
        return Source(
            named,
            double,
            False,
            lambda some: rows.where(col("label").isin(list(some))),
            lambda _: as_read,
        )
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    whole = files.option("pathGlobFilter", "*.parquet").load(folder).select("path", "content")
    return Source(named, double, True, lambda _: whole, opened)


def as_read(batches: Any) -> Iterator[Any]:
    """For mapInArrow: path, label, features as Spark read them."""
    yield from batches


def opened(classes: frozenset[str]) -> Batches:
    """For mapInArrow: whole Parquet files to path, label, features of some classes."""

    def made(batches: Any) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for batch in batches:
            for content in batch.column(1):
                file = pq.ParquetFile(pa.BufferReader(content.as_buffer()))
                for part in file.iter_batches(4096, columns=["path", "label", "features"]):
                    yield of_classes(part.select(["path", "label", "features"]), classes)

    return made


def of_classes(batch: Any, classes: frozenset[str]) -> Any:
    """The rows of some classes, the label as a string and the lists as plain lists."""
    import pyarrow as pa
    import pyarrow.compute as pc

    label = batch.column(1).cast(pa.string())
    features = batch.column(2)
    columns = [batch.column(0).cast(pa.string()), label, features]
    made = pa.RecordBatch.from_arrays(columns, ["path", "label", "features"])
    keep = pc.is_in(label, value_set=pa.array(sorted(classes)))
    return made if keep.true_count == len(label) else made.filter(keep)


def named(base: str, name: str) -> tuple[str, str]:
    """(path, label) of a JSON file: the picture's own, so that its place in a split is too."""
    path = _common.relative(base, name)[: -len(".json")]
    label = _common.label_of(path)
    if label is None:
        raise JobError(f"{name}: no class in its name: neither <class>_<n> nor in a folder")
    return path, label


def from_json(spark: SparkSession, base: str, names: list[str], partitions: int) -> Source:
    """A list of numbers for each picture, in `<class>_<n>.jpg.json`, as the lecture had it."""
    rows = [named(base, name) for name in names if name.endswith(".json")]

    def read(_: Sequence[str]) -> DataFrame:
        source = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        listed = source.option("pathGlobFilter", "*.json").load(base).select("path", "content")
        # Thousands of small files: Spark's own cut gives a task for every 32, whatever was asked.
        return listed.coalesce(partitions) if listed.rdd.getNumPartitions() > partitions else listed

    return Source(rows, True, True, read, lambda classes: parsed(base, classes))


def parsed(base: str, classes: frozenset[str]) -> Batches:
    """For mapInArrow: path, content to path, label, features (null: no list of numbers)."""

    def made(batches: Any) -> Iterator[Any]:
        rows = []
        for batch in batches:
            for name, content in zip(batch.column(0), batch.column(1)):
                path, label = named(base, name.as_py())
                if label in classes:
                    rows.append((path, label, numbers(content.as_py())))
                if len(rows) == 512:
                    yield lists(rows)
                    rows = []
        yield lists(rows)

    return made


def lists(rows: list[tuple[str, str, Array | None]]) -> Any:
    """Parsed rows as an Arrow batch, without a Python object for each number."""
    import pyarrow as pa

    widths = [0 if values is None else len(values) for _, _, values in rows]
    ends = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    every = [values for _, _, values in rows if values is not None]
    flat = np.concatenate(every) if every else np.empty(0)
    nothing = pa.array([values is None for _, _, values in rows])
    features = pa.ListArray.from_arrays(pa.array(ends), pa.array(flat), mask=nothing)
    paths, labels = [path for path, _, _ in rows], [label for _, label, _ in rows]
    columns = [pa.array(paths, pa.string()), pa.array(labels, pa.string()), features]
    return pa.RecordBatch.from_arrays(columns, ["path", "label", "features"])


def numbers(content: bytes) -> Array | None:
    """The list of numbers in a JSON file, float64, or None."""
    try:
        values = np.array(json.loads(content), dtype=np.float64)
    except (ValueError, TypeError):
        return None
    return values if values.ndim == 1 else None
