"""Where feature vectors come from: Parquet, or one JSON list for each picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple, Union

import _common
import numpy as np
from _common import Files, JobError, join
from pyspark.sql import DataFrame, SparkSession

WHOLE_BYTES = 128 << 20  # of a Parquet file that one task takes in one piece
COLUMNS = ["path", "label", "features"]
Array = np.ndarray[Any, Any]
Batches = Iterator[Union[Any, str]]


class Source(NamedTuple):
    """Features found, not yet read.

    Attributes:
        raw: RDD of whole files (name, content), or of batches that Spark has read.
        batches: In a task, what `raw` holds to Arrow batches of path, label and features (a list,
            null where there is none), or a sentence on why it is none.
    """

    raw: Any
    batches: Callable[[Iterable[Any]], Batches]


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
    tables = {name: size for name, size in sizes.items() if name.endswith(".parquet")}
    lists = [name for name in sizes if name.endswith(".json")]
    if tables:
        return from_parquet(spark, folder, tables, partitions)
    if not lists:
        raise JobError(f"--features {path}: no Parquet and no JSON features there")
    empty = [name for name in lists if not sizes[name]]
    if empty:  # Spark would pass over it in silence
        raise JobError(f"{empty[0]}: an empty file")
    return from_json(spark, files.qualified(folder), lists, partitions)


def made_by(files: Files, path: str) -> dict[str, Any] | None:
    """What the features job says of itself, from its result.json beside or above; None."""
    above = path.rstrip("/").rpartition("/")[0] or "."
    for folder in (path, above):
        name = join(folder, "result.json")
        if files.exists(name):
            told: dict[str, Any] = json.loads(files.read(name))
            return told if told.get("job") == "features" else None
    return None


def check(path: str, rows: Sequence[tuple[str, str]]) -> None:
    """Rows there are, each with a class, none twice: a twin in the test part would be known.

    Args:
        path: What the user gave.
        rows: (path, label) of all that was read.

    Raises:
        JobError: One of these is not so.
    """
    if not rows:
        raise JobError(f"--features {path}: no rows")
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if None in row:
            raise JobError(f"--features {path}: {row[0]} has no class")
        if row in seen:
            raise JobError(f"--features {path}: {row[0]} ({row[1]}) comes more than once")
        seen.add(row)


def contents(spark: SparkSession, paths: str, names: Sequence[str], partitions: int) -> Any:
    """RDD of (name, content) of whole files.

    Not by way of a DataFrame: to start Spark SQL took longer than to read the files.

    Args:
        spark: The session.
        paths: Where Spark is to look, as Hadoop has it: patterns, a comma between.
        names: The files meant: patterns may find more.
        partitions: At least, where there are as many files.
    """
    wanted = frozenset(names)
    return spark.sparkContext.binaryFiles(paths, partitions).filter(lambda file: file[0] in wanted)


def pattern(name: str) -> str:
    """A name as a pattern of Hadoop's that finds it: what it would misread is `?`."""
    return "".join("?" if sign in ",{}[]*?\\^" else sign for sign in name)


def from_parquet(
    spark: SparkSession, folder: str, sizes: dict[str, int], partitions: int
) -> Source:
    """path, label and features of Parquet files, wherever they came from.

    Files of a usual size go to Python whole, and Arrow reads them there: Spark's own way, number by
    number into rows and back into columns, took five times as long.
    """
    if max(sizes.values()) > WHOLE_BYTES:
        frame = spark.read.option("recursiveFileLookup", "true").parquet(folder)
        wrong = unfit(frame.columns, dict(frame.dtypes).get("features", ""))
        if wrong:
            raise JobError(f"{folder}: {wrong}")
        return Source(sealed(frame.select(COLUMNS)), unsealed)
    dealt = [list(sizes)[place::partitions] for place in range(min(partitions, len(sizes)))]
    parts = [contents(spark, ",".join(map(pattern, names)), names, 1) for names in dealt]
    return Source(spark.sparkContext.union(parts), opened)


def unfit(columns: Sequence[str], kind: str) -> str:
    """Why a table has no features, or nothing."""
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        return f"no column {', '.join(missing)} among {', '.join(columns)}"
    if kind not in ("array<float>", "array<double>"):
        return f"features are {kind}, not a list of float or double"
    return ""


def sealed(frame: DataFrame) -> Any:
    """RDD of Arrow batches, each as bytes: no row becomes an object of Java's or Python's."""

    def made(batches: Any) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            yield pa.RecordBatch.from_arrays([pa.array([sink.getvalue().to_pybytes()])], ["batch"])

    return frame.mapInArrow(made, "batch binary").rdd.map(lambda row: bytes(row[0]))


def unsealed(records: Iterable[bytes]) -> Batches:
    """What was sealed."""
    import pyarrow as pa

    for record in records:
        for batch in pa.ipc.open_stream(record):
            yield plain(batch)


def opened(records: Iterable[tuple[str, bytes]]) -> Batches:
    """Whole Parquet files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, content in records:
        file = pq.ParquetFile(pa.BufferReader(content))
        schema = file.schema_arrow
        known = "features" in schema.names
        wrong = unfit(schema.names, told(schema.field("features").type) if known else "")
        if wrong:
            yield f"{name}: {wrong}"
            continue
        for batch in file.iter_batches(1024, columns=COLUMNS):
            yield plain(batch.select(COLUMNS))


def told(kind: Any) -> str:
    """An Arrow type in Spark's words."""
    import pyarrow as pa

    words = {"int64": "bigint", "int32": "int", "halffloat": "half"}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"array<{told(kind.value_type)}>"
    return words.get(str(kind), str(kind))


def plain(batch: Any) -> Any:
    """Path and label as strings."""
    import pyarrow as pa

    strings = [batch.column(place).cast(pa.string()) for place in (0, 1)]
    return pa.RecordBatch.from_arrays([*strings, batch.column(2)], COLUMNS)


def named(base: str, name: str) -> tuple[str, str]:
    """(path, label) of a JSON file: the picture's own, so that its place in a split is too."""
    path = _common.relative(base, name)[: -len(".json")]
    label = _common.label_of(path)
    if label is None:
        raise JobError(f"{name}: no class in its name: neither <class>_<n> nor in a folder")
    return path, label


def from_json(spark: SparkSession, base: str, names: list[str], partitions: int) -> Source:
    """A list of numbers for each picture, in `<class>_<n>.jpg.json`, as the lecture had it."""
    for name in names:
        named(base, name)
    wanted = frozenset(names)  # a pattern may find more
    source = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    listed = source.option("pathGlobFilter", "*.json").load(pattern(base))
    # Thousands of small files: `contents` takes 10 ms for each, and Spark SQL's own cut gives a
    # task for every 32, whatever was asked.
    raw = listed.select("path", "content").coalesce(partitions).rdd.map(tuple)
    return Source(raw.filter(lambda file: file[0] in wanted), parsed(base))


def parsed(base: str) -> Callable[[Iterable[tuple[str, bytes]]], Batches]:
    """Whole JSON files, some hundred in a batch."""

    def made(records: Iterable[tuple[str, bytes]]) -> Batches:
        rows = []
        for name, content in records:
            rows.append((*named(base, name), numbers(content)))
            if len(rows) == 512:
                yield lists(rows)
                rows = []
        if rows:
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
