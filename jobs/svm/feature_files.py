"""Find and read feature vectors: Parquet, or one JSON list for each picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple, Union

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from common.files import HadoopFiles, join, label_of, relative
from common.job import JobError
from svm import Array

WHOLE_BYTES = 128 << 20  # the largest Parquet file that one task reads as a whole
COLUMNS = ["path", "label", "features"]
Batches = Iterator[Union[Any, str]]


class FeatureSource(NamedTuple):
    """Features before they are read."""

    records: Any  # RDD of whole files (name, content), or of serialized Arrow batches
    # Converts records, in a task, to Arrow batches of path, label and features (a list, or null),
    # or to an error message.
    batches: Callable[[Iterable[Any]], Batches]


def find(spark: SparkSession, files: HadoopFiles, path: str, partitions: int) -> FeatureSource:
    """Find features: --output of the features job, its folder `features`, or files like those.

    Raises:
        JobError: There are no features, or their format is not supported.
    """
    if not files.exists(path):
        raise JobError(f"--features {path}: no such file or folder")
    inner = join(path, "features")
    folder = inner if files.exists(inner) else path
    sizes = dict(files.list_files(folder))
    tables = {name: size for name, size in sizes.items() if name.endswith(".parquet")}
    lists = [name for name in sizes if name.endswith(".json")]
    if tables:
        return find_parquet(spark, folder, tables, partitions)
    if not lists:
        raise JobError(f"--features {path}: no Parquet and no JSON features there")
    empty = [name for name in lists if not sizes[name]]
    if empty:  # Spark would skip it silently
        raise JobError(f"{empty[0]}: an empty file")
    return find_json(spark, files.qualified(folder), lists, partitions)


def extraction_result(files: HadoopFiles, path: str) -> dict[str, Any]:
    """Return result.json of the features job, in the folder or its parent, or an empty dict."""
    parent = path.rstrip("/").rpartition("/")[0] or "."
    for folder in (path, parent):
        name = join(folder, "result.json")
        if files.exists(name):
            result: dict[str, Any] = json.loads(files.read(name))
            return result if result.get("job") == "features" else {}
    return {}


def check_rows(path: str, rows: Sequence[tuple[str, str]]) -> None:
    """Check that there are rows (path, label), that each has a class, and that none is repeated.

    A repeated row could be in both the training and the test part.

    Raises:
        JobError: A check failed.
    """
    if not rows:
        raise JobError(f"--features {path}: no rows")
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if None in row:
            raise JobError(f"--features {path}: {row[0]} has no class")
        if row in seen:
            raise JobError(f"--features {path}: {row[0]} ({row[1]}) is repeated")
        seen.add(row)


# ---- Parquet -------------------------------------------------------------------------------------


def find_parquet(
    spark: SparkSession, folder: str, sizes: dict[str, int], partitions: int
) -> FeatureSource:
    """Read path, label and features of Parquet files.

    Files up to WHOLE_BYTES are passed to Python as a whole and read by Arrow: Spark's reader
    converts every number to rows and back to columns, which took five times as long.
    """
    if max(sizes.values()) > WHOLE_BYTES:
        frame = spark.read.option("recursiveFileLookup", "true").parquet(folder)
        problem = schema_problem(frame.columns, dict(frame.dtypes).get("features", ""))
        if problem:
            raise JobError(f"{folder}: {problem}")
        return FeatureSource(serialized_batches(frame.select(COLUMNS)), deserialize_batches)
    groups = [list(sizes)[first::partitions] for first in range(min(partitions, len(sizes)))]
    parts = [whole_files(spark, ",".join(map(glob_of, names)), names, 1) for names in groups]
    return FeatureSource(spark.sparkContext.union(parts), read_parquet)


def whole_files(spark: SparkSession, globs: str, names: Sequence[str], partitions: int) -> Any:
    """Return an RDD of (name, content) of the named files; the glob patterns may match more.

    Not a DataFrame: Spark SQL takes longer to start.
    """
    selected = frozenset(names)
    contents = spark.sparkContext.binaryFiles(globs, partitions)
    return contents.filter(lambda file: file[0] in selected)


def glob_of(name: str) -> str:
    """Return a Hadoop glob pattern that matches a name; special characters become `?`."""
    return "".join("?" if letter in ",{}[]*?\\^" else letter for letter in name)


def schema_problem(columns: Sequence[str], feature_type: str) -> str:
    """Return why a table is not a table of features, or an empty string."""
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        return f"no column {', '.join(missing)} among {', '.join(columns)}"
    if feature_type not in ("array<float>", "array<double>"):
        return f"features are {feature_type}, not a list of float or double"
    return ""


def serialized_batches(frame: DataFrame) -> Any:
    """Return an RDD of Arrow batches as bytes, without an object for each row."""

    def serialize(batches: Any) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            yield pa.RecordBatch.from_arrays([pa.array([sink.getvalue().to_pybytes()])], ["batch"])

    return frame.mapInArrow(serialize, "batch binary").rdd.map(lambda row: bytes(row[0]))


def deserialize_batches(records: Iterable[bytes]) -> Batches:
    """Read the records of `serialized_batches`."""
    import pyarrow as pa

    for record in records:
        for batch in pa.ipc.open_stream(record):
            yield with_string_columns(batch)


def read_parquet(records: Iterable[tuple[str, bytes]]) -> Batches:
    """Read whole Parquet files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, content in records:
        file = pq.ParquetFile(pa.BufferReader(content))
        schema = file.schema_arrow
        exists = "features" in schema.names
        feature_type = spark_type(schema.field("features").type) if exists else ""
        problem = schema_problem(schema.names, feature_type)
        if problem:
            yield f"{name}: {problem}"
            continue
        for batch in file.iter_batches(1024, columns=COLUMNS):
            yield with_string_columns(batch.select(COLUMNS))


def spark_type(arrow_type: Any) -> str:
    """Return the Spark name of an Arrow type."""
    import pyarrow as pa

    names = {"int64": "bigint", "int32": "int", "halffloat": "half"}
    if pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type):
        return f"array<{spark_type(arrow_type.value_type)}>"
    return names.get(str(arrow_type), str(arrow_type))


def with_string_columns(batch: Any) -> Any:
    """Convert path and label to strings (they may be dictionary-encoded)."""
    import pyarrow as pa

    strings = [batch.column(column).cast(pa.string()) for column in (0, 1)]
    return pa.RecordBatch.from_arrays([*strings, batch.column(2)], COLUMNS)


# ---- JSON ----------------------------------------------------------------------------------------


def find_json(spark: SparkSession, base: str, names: list[str], partitions: int) -> FeatureSource:
    """Read a list of numbers for each picture from `<class>_<n>.jpg.json`."""
    for name in names:
        path_and_label(base, name)
    selected = frozenset(names)  # the pattern may match more
    source = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    frame = source.option("pathGlobFilter", "*.json").load(glob_of(base))
    # `binaryFiles` takes 10 ms for each of thousands of small files, and Spark SQL puts 32 of them
    # into a partition, whatever the requested number.
    records = frame.select("path", "content").coalesce(partitions).rdd.map(tuple)
    return FeatureSource(records.filter(lambda file: file[0] in selected), json_reader(base))


def path_and_label(base: str, name: str) -> tuple[str, str]:
    """Return path and label of a JSON file: those of the picture, so that its split is the same."""
    path = relative(base, name)[: -len(".json")]
    label = label_of(path)
    if label is None:
        raise JobError(f"{name}: no class in its name: neither <class>_<n> nor in a folder")
    return path, label


def json_reader(base: str) -> Callable[[Iterable[tuple[str, bytes]]], Batches]:
    """Return a function that reads whole JSON files into batches of 512."""

    def read(records: Iterable[tuple[str, bytes]]) -> Batches:
        rows = []
        for name, content in records:
            rows.append((*path_and_label(base, name), parse_numbers(content)))
            if len(rows) == 512:
                yield feature_batch(rows)
                rows = []
        if rows:
            yield feature_batch(rows)

    return read


def feature_batch(rows: list[tuple[str, str, Array | None]]) -> Any:
    """Return rows as an Arrow batch, without an object for each number."""
    import pyarrow as pa

    widths = [0 if values is None else len(values) for _, _, values in rows]
    offsets = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    vectors = [values for _, _, values in rows if values is not None]
    numbers = np.concatenate(vectors) if vectors else np.empty(0)
    nulls = pa.array([values is None for _, _, values in rows])
    features = pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers), mask=nulls)
    paths, labels = [path for path, _, _ in rows], [label for _, label, _ in rows]
    columns = [pa.array(paths, pa.string()), pa.array(labels, pa.string()), features]
    return pa.RecordBatch.from_arrays(columns, COLUMNS)


def parse_numbers(content: bytes) -> Array | None:
    """Return the JSON list of numbers as float64, or None if it is not one."""
    try:
        values = np.array(json.loads(content), dtype=np.float64)
    except (ValueError, TypeError):
        return None
    return values if values.ndim == 1 else None
