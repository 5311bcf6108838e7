"""`--check-output`: row count and checksum of a data set that a job wrote, for comparisons.

Up to `CLIENT_BYTES` are read on the client; larger data sets are read on the cluster, by the job
`checksum`, once the step of the run has ended.
"""

from __future__ import annotations

import bz2
import csv
import io
import itertools
import lzma
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from emrctl.aws import errors
from emrctl.aws.listing import objects
from emrctl.aws.s3 import open_object, split_uri
from emrctl.errors import CredentialsError, EmrctlError, NotFoundError, UnavailableError, UsageError
from emrctl.paths import temporary_folder
from emrctl.runs import checksums, submission
from emrctl.runs.checksums import DatasetChecksum, WeightedSum
from emrctl.runs.record import CheckedOutput, Run
from emrctl.runs.store import RunFiles
from emrctl.runs.submission import collapse
from emrctl.runs.workspace import Workspace
from emrctl.spec.output import OutputSpec

Wait = Callable[[Run], Run]

CLIENT_BYTES = 1_000_000_000
CLIENT, CLUSTER = "read on the client", "read by Spark"
# Tag of the runs of `checksum`, and the number of the newest runs among which they are looked for.
TAG, _NEWEST = "checks", 64
_THREADS, _CHUNK_BYTES = 4, 1 << 20
_FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".txt": "text",
    ".text": "text",
    ".log": "text",
    "": "text",
}
_COMPRESSED = {".gz", ".bz2", ".zst", ".xz", ".deflate"}
_DAMAGED = (OSError, ValueError, EOFError, csv.Error, zlib.error, lzma.LZMAError)
_SEPARATORS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True)
class _File:
    """An object of a data set; `partition` are the columns in its key, like `year=2026/`."""

    key: str
    size: int
    kind: str
    suffix: str
    partition: Mapping[str, str]


@dataclass(frozen=True)
class CheckedFigures:
    """The figures of the job `checksum`."""

    rows: int
    checksum: str
    sums: Mapping[str, WeightedSum]


@dataclass(frozen=True)
class _Result:
    figures: CheckedFigures


def save(workspace: Workspace, run: Run, wait: Wait) -> tuple[str, ...]:
    """Check the outputs of a completed run and store the results; return warnings.

    `wait` returns a run of the job `checksum` once it has finished.
    """
    if not run.check_output or run.state != "COMPLETED":
        return ()
    files = workspace.store.files(run.id)
    found, warnings = files.load(RunFiles.CHECK, dict[str, CheckedOutput]) or {}, []
    for text in run.check_output:
        name = collapse(text, run)
        if name not in found:
            try:
                found[name] = _check(workspace, run, OutputSpec.parse(text), wait)
            except (CredentialsError, UnavailableError):
                raise
            except EmrctlError as error:
                warnings.append(f"--check-output {name}: {error.message}")
    files.write_json(RunFiles.CHECK, {name: asdict(item) for name, item in found.items()})
    return tuple(warnings)


def _check(workspace: Workspace, run: Run, spec: OutputSpec, wait: Wait) -> CheckedOutput:
    files = list(_list(workspace, spec))
    size_bytes = sum(file.size for file in files)
    place = spec.place or ("client" if size_bytes <= CLIENT_BYTES else "cluster")
    if place == "client":
        checked = read(workspace, spec, files)
        found = CheckedFigures(checked.rows, checked.text, checked.sums)
    else:
        found = _read_on_cluster(workspace, run, spec, files[0].kind, wait)
    return CheckedOutput(
        rows=found.rows,
        checksum=found.checksum,
        sums=found.sums,
        files=len(files),
        bytes=size_bytes,
        method=CLIENT if place == "client" else CLUSTER,
    )


def _read_on_cluster(
    workspace: Workspace, run: Run, spec: OutputSpec, kind: str, wait: Wait
) -> CheckedFigures:
    """Run the job `checksum` on the cluster of the run; return its figures.

    A client that continues after another was killed waits for the same run of `checksum`.
    """
    tag = f"{run.id} {spec.uri.replace(run.prefix, '')}"
    newest = itertools.islice(workspace.store.newest(), _NEWEST)
    check = next((item for item in newest if item.tags.get(TAG) == tag), None)
    if check is None:
        arguments = ["--input", spec.uri, "--format", "csv" if kind in _SEPARATORS else kind]
        if kind in _SEPARATORS:
            arguments += ["--sep", spec.separator or _SEPARATORS[kind]]
            arguments += ["--header"] * spec.header
        order = submission.Submission(job="checksum", arguments=arguments, tags={TAG: tag})
        check = submission.submit(workspace, order, workspace.cluster(run.cluster.name))
    check = wait(check)
    result = workspace.store.files(check.id).load(RunFiles.RESULT, _Result)
    if check.state != "COMPLETED" or result is None:
        raise UsageError(f"run {check.id} of the job checksum is {check.state}")
    return result.figures


def _list(workspace: Workspace, spec: OutputSpec) -> Iterator[_File]:
    """Yield the files of a data set as Spark lists them: without hidden and empty ones.

    Raises `NotFoundError` if there is none, `UsageError` if formats are mixed or not supported.
    """
    from botocore.exceptions import ClientError

    bucket, key = split_uri(spec.uri)
    with errors.translated(f"listing {spec.uri}"):
        try:
            listed = list(objects(workspace.target.client("s3"), bucket, key))
        except ClientError as error:
            if errors.is_temporary(error):
                raise
            raise NotFoundError(f"cannot list {spec.uri}: {error}") from error
    files = [
        _file(item["Key"], item["Size"], item["Key"].removeprefix(key))
        for item in listed
        if item["Size"] and _is_data(item["Key"].removeprefix(key))
    ]
    kinds = {file.kind for file in files}
    if len(kinds) != 1:
        what = f"files of several formats ({', '.join(sorted(kinds))})" if kinds else "no data"
        raise NotFoundError(f"{what} at {spec.uri}")
    yield from files


def _is_data(name: str) -> bool:
    """Return whether Spark reads a file below the data set; `name` is empty for a single file."""
    if name and not name.startswith("/"):  # another data set whose name begins equally
        return False
    return not any(
        part.startswith(".") or (part.startswith("_") and "=" not in part)
        for part in name.strip("/").split("/")
    )


def _file(key: str, size: int, name: str) -> _File:
    path = PurePosixPath(key)
    suffix = path.suffix if path.suffix in _COMPRESSED else ""
    kind = _FORMATS.get(PurePosixPath(path.name.removesuffix(suffix)).suffix)
    if kind is None:
        raise UsageError(
            f"the format of {path.name} is not supported",
            hint="Supported are Parquet, CSV, TSV, JSON lines and text.",
        )
    pairs = (part.partition("=") for part in name.split("/")[:-1] if "=" in part)
    partition = {column: value for column, _, value in pairs}
    return _File(key, size, kind, suffix, partition)


def read(workspace: Workspace, spec: OutputSpec, files: Sequence[_File]) -> DatasetChecksum:
    """Return the checksum of files, a few at a time; Parquet files are downloaded one by one."""
    s3, bucket = workspace.target.client("s3"), split_uri(spec.uri)[0]
    pool = ThreadPoolExecutor(_THREADS)
    try:
        parts = pool.map(lambda file: _read(s3, bucket, file, spec), files)
        return sum(parts, DatasetChecksum())
    finally:
        pool.shutdown(cancel_futures=True)


def _read(s3: Any, bucket: str, file: _File, spec: OutputSpec) -> DatasetChecksum:
    """Return the checksum of one object; `UsageError` if it cannot be read."""
    from botocore.exceptions import BotoCoreError, ClientError
    from zstandard import ZstdError

    try:
        if file.kind == "parquet":
            return _read_parquet(s3, bucket, file)
        stream = _decompressed(open_object(s3, bucket, file.key), file.suffix)
        with io.TextIOWrapper(stream, errors="surrogateescape", newline="") as text:
            if file.kind == "text":
                return checksums.of_lines(text, file.partition)
            if file.kind == "json":
                return checksums.of_json(text, file.partition)
            separator = spec.separator or _SEPARATORS[file.kind]
            return checksums.of_csv(text, file.partition, separator, header=spec.header)
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed") from error
    except (BotoCoreError, ClientError, ZstdError, *_DAMAGED) as error:
        if errors.is_temporary(error):
            raise errors.translate(error, f"reading {file.key}") from error
        raise UsageError(f"cannot read {file.key}: {error}") from error


def _read_parquet(s3: Any, bucket: str, file: _File) -> DatasetChecksum:
    import duckdb

    with temporary_folder() as folder:
        path = folder / "data.parquet"
        body = s3.get_object(Bucket=bucket, Key=file.key)["Body"]
        with path.open("wb") as copy:
            shutil.copyfileobj(body, copy, _CHUNK_BYTES)
        try:
            return checksums.of_parquet(path, file.partition)
        except duckdb.Error as error:
            raise UsageError(f"cannot read {file.key}: {error}") from error


def _decompressed(stream: BinaryIO, suffix: str) -> BinaryIO:
    """Return the decompressed content of an object; gzip is decompressed already."""
    if suffix == ".bz2":
        return cast("BinaryIO", bz2.BZ2File(stream))
    if suffix == ".xz":
        return cast("BinaryIO", lzma.LZMAFile(stream))
    if suffix == ".zst":
        import zstandard

        return cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(stream))
    if suffix == ".deflate":
        return io.BytesIO(zlib.decompress(stream.read()))
    return stream
