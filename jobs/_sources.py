"""Where feature vectors come from: Parquet, or one JSON list for each picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import _common
from _common import Files, JobError, join
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col

if TYPE_CHECKING:
    import pandas as pd

PARSED = "path string, label string, features array<double>"


class Source(NamedTuple):
    """Features found: (path, label) of each row, and how to read those of some classes."""

    rows: list[tuple[str, str]]
    read: Callable[[Sequence[str]], DataFrame]

    def classes(self) -> list[str]:
        """The classes there are, in the order of their names."""
        return sorted({label for _, label in self.rows})


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
        found = from_parquet(spark, folder)
    elif any(name.endswith(".json") for name in names):
        empty = [name for name, size in sizes.items() if name.endswith(".json") and not size]
        if empty:  # Spark would pass over it in silence
            raise JobError(f"{empty[0]}: an empty file")
        found = from_json(spark, files.qualified(folder), names, partitions)
    else:
        raise JobError(f"--features {path}: no Parquet and no JSON features there")
    check(path, found)
    return found


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


def from_parquet(spark: SparkSession, folder: str) -> Source:
    """path, label and features of Parquet files, wherever they came from."""
    frame = spark.read.option("recursiveFileLookup", "true").parquet(folder)
    kinds = dict(frame.dtypes)
    missing = [name for name in ("path", "label", "features") if name not in kinds]
    if missing:
        raise JobError(f"{folder}: no column {', '.join(missing)} among {', '.join(kinds)}")
    if kinds["features"] not in ("array<float>", "array<double>"):
        raise JobError(f"{folder}: features are {kinds['features']}, not a list of float or double")
    rows = frame.selectExpr("path", "cast(label as string) as label", "features")
    named = [(row["path"], row["label"]) for row in rows.select("path", "label").collect()]
    return Source(named, lambda classes: rows.where(col("label").isin(list(classes))))


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

    def read(classes: Sequence[str]) -> DataFrame:
        source = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        listed = source.option("pathGlobFilter", "*.json").load(base).select("path", "content")
        # Thousands of small files: Spark's own cut gives a task for every 32, whatever was asked.
        if listed.rdd.getNumPartitions() > partitions:
            listed = listed.coalesce(partitions)
        return listed.mapInPandas(parsed(base, frozenset(classes)), PARSED)

    return Source(rows, read)


def parsed(base: str, classes: frozenset[str]) -> Callable[[Any], Iterator[pd.DataFrame]]:
    """For mapInPandas: (path, content) to PARSED; what is no list of numbers has features null."""

    def made(tables: Any) -> Iterator[pd.DataFrame]:
        import pandas as pd

        for table in tables:
            rows = []
            for name, content in table.itertuples(index=False, name=None):
                path, label = named(base, name)
                if label in classes:
                    rows.append((path, label, numbers(content)))
            yield pd.DataFrame(rows, columns=["path", "label", "features"])

    return made


def numbers(content: bytes) -> list[float] | None:
    """The list of numbers in a JSON file, or None."""
    try:
        return [float(value) for value in json.loads(content)]
    except (ValueError, TypeError):
        return None
