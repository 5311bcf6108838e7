"""`--check-output`: data sets on S3, their checksums in the store, and on the cluster."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
import zstandard

from emrctl.aws.target import Target
from emrctl.errors import UsageError
from emrctl.runs import checksums, output_check, submission
from emrctl.runs.record import Run
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config
from emrctl.spec.output import OutputSpec
from tests.facts import CLUSTER, RUN

Put = Callable[[str, bytes], None]
DATA = replace(
    RUN, bucket="rows-of-b", state="COMPLETED", check_output=("s3://rows-of-b/runs/r1/rows",)
)


@pytest.fixture
def put(mocked: Target) -> Put:
    """Return a function that writes an object below the run's `rows`."""
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="rows-of-b")

    def put(name: str, body: bytes) -> None:
        s3.put_object(Bucket="rows-of-b", Key=f"runs/r1/rows{name}", Body=body)

    return put


@pytest.fixture
def workspace(mocked: Target, tmp_path: Path) -> Workspace:
    found = Workspace(Config(ProjectSpec(project="pets"), tmp_path, {}))
    found.__dict__["target"] = mocked
    return found


def _wait(run: Run) -> Run:
    return replace(run, state="COMPLETED")


def _saved(workspace: Workspace, run: Run = DATA) -> dict[str, Any]:
    """Check the outputs; return the only one that is stored."""
    workspace.store.files(run.id).delete(RunFiles.CHECK)
    assert output_check.save(workspace, run, _wait) == ()
    document = workspace.store.files(run.id).read_json(RunFiles.CHECK)
    assert document is not None
    assert list(document) == ["{run}/rows"]
    found: dict[str, Any] = document["{run}/rows"]
    return found


def _parquet(rows: str) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as copy:
        duckdb.sql(f"COPY ({rows}) TO '{copy.name}' (FORMAT parquet)")
        return Path(copy.name).read_bytes()


def test_save_stores_rows_and_checksum_of_parquet_files(put: Put, workspace: Workspace) -> None:
    put("/part-0.snappy.parquet", _parquet("SELECT 1 AS a, 0.5::DOUBLE AS x"))
    put("/part-1.snappy.parquet", _parquet("SELECT 2 AS a, 1.5::DOUBLE AS x"))
    put("/_SUCCESS", b"")
    put("/.part-0.crc", b"crc")
    put("/_temporary/part-9.parquet", b"unfinished")
    put("2/part-0.parquet", b"another data set")
    two = _saved(workspace)
    assert (two["rows"], two["files"], two["method"]) == (2, 2, "read on the client")
    assert two["sums"]["x"]["absolute"] == 2.0
    put("/part-0.snappy.parquet", _parquet("SELECT * FROM (VALUES (2, 1.5), (1, 0.5)) r(a, x)"))
    put("/part-1.snappy.parquet", _parquet("SELECT 1 AS a, 0.5::DOUBLE AS x LIMIT 0"))
    put(
        "/part-0.snappy.parquet",
        _parquet("SELECT 1.5::DOUBLE AS x, 2 AS a UNION ALL SELECT 0.5, 1"),
    )
    one = _saved(workspace)
    assert (one["rows"], one["checksum"], one["sums"]) == (2, two["checksum"], two["sums"])


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".zst", zstandard.compress),
        (".deflate", zlib.compress),
    ],
)
def test_save_reads_compressed_json_lines(
    put: Put, workspace: Workspace, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    body = b'{"a": 1, "b": "x"}\n{"a": 2}\n'
    put("/part-0.json" + suffix, compress(body))
    found = _saved(workspace)
    expected = checksums.of_json(io.StringIO(body.decode()), {})
    assert (found["rows"], found["checksum"]) == (2, expected.text)


def test_save_of_csv_uses_header_and_separator(put: Put, workspace: Workspace) -> None:
    run = replace(DATA, check_output=("s3://rows-of-b/runs/r1/rows?header=true&sep=;",))
    put("/part-0.csv", b"a;b\n1;x\n")
    put("/part-1.csv", b"a;b\n2;y\n")
    output_check.save(workspace, run, _wait)
    [(name, found)] = (workspace.store.files("r1").read_json(RunFiles.CHECK) or {}).items()
    assert (name, found["rows"]) == ("{run}/rows?header=true&sep=;", 2)


def test_save_takes_partitions_from_keys(put: Put, workspace: Workspace) -> None:
    put("/year=2025/part-0.json", b'{"a": 1}\n')
    one = _saved(workspace)
    put("/year=2025/part-0.json", b"")
    put("/year=2026/part-0.json", b'{"a": 1}\n')
    other = _saved(workspace)
    assert (one["rows"], other["rows"]) == (1, 1)
    assert one["checksum"] != other["checksum"]


def test_save_of_text_without_suffix_and_of_one_object(put: Put, workspace: Workspace) -> None:
    put("/part-00000", b"a\nb\n")
    assert _saved(workspace)["rows"] == 2
    put("/part-00000", b"")
    put("", b"a\nb\nc\n")
    assert _saved(workspace)["rows"] == 3


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({}, "no data at s3://rows-of-b/runs/r1/rows"),
        ({"/_SUCCESS": b"x"}, "no data at"),
        ({"/a.json": b"{}", "/b.csv": b"1"}, r"several formats \(csv, json\)"),
        ({"/a.avro": b"1"}, "the format of a.avro is not supported"),
        ({"/a.json": b"{"}, "cannot read runs/r1/rows/a.json"),
        ({"/a.json.bz2": b"not bzip2"}, "cannot read runs/r1/rows/a.json.bz2"),
        ({"/a.json.zst": b"not zstd"}, "cannot read runs/r1/rows/a.json.zst"),
        ({"/a.parquet": b"PAR1"}, "cannot read runs/r1/rows/a.parquet"),
    ],
)
def test_save_of_unreadable_data_is_a_warning(
    put: Put, workspace: Workspace, objects: dict[str, bytes], message: str
) -> None:
    for name, body in objects.items():
        put(name, body)
    [warning] = output_check.save(workspace, DATA, _wait)
    assert warning.startswith("--check-output {run}/rows: ")
    assert re.search(message, warning)
    assert workspace.store.files("r1").read_json(RunFiles.CHECK) == {}


def test_save_of_a_failed_run_reads_nothing(put: Put, workspace: Workspace) -> None:
    assert output_check.save(workspace, replace(DATA, state="FAILED"), _wait) == ()
    assert workspace.store.files("r1").read_json(RunFiles.CHECK) is None


@pytest.mark.parametrize(
    "text",
    ["", "rows", "s3://b", "s3://b/", "hdfs:///rows", "s3://b/x?head=true", "s3://b/x?sep=ab",
     "s3://b/x?header=maybe", "s3://b/x?on=moon"],
)  # fmt: skip
def test_parse_rejects_what_is_no_data_set(text: str) -> None:
    with pytest.raises(UsageError, match="--check-output"):
        OutputSpec.parse(text)


def test_parse_returns_options() -> None:
    assert OutputSpec.parse("s3://b/x/?header=true&sep=;&on=client") == OutputSpec(
        "s3://b/x", header=True, separator=";", place="client"
    )
    assert OutputSpec.parse("s3://b/x") == OutputSpec("s3://b/x")


@pytest.fixture
def cluster_runs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the job `checksum`; returns the submissions."""
    orders: list[Any] = []

    def submit(_workspace: Workspace, order: submission.Submission, cluster: Any) -> Run:
        assert cluster is CLUSTER
        orders.append(order)
        run = replace(RUN, id=f"check-{len(orders)}", tags=order.tags, state="PENDING")
        workspace.store.save(run)
        figures = {"rows": 7, "checksum": "ab", "sums": {}}
        workspace.store.files(run.id).write_json(RunFiles.RESULT, {"figures": figures})
        return run

    monkeypatch.setattr(submission, "submit", submit)
    monkeypatch.setattr(Workspace, "cluster", lambda _self, _name: CLUSTER)
    return orders


def test_save_of_large_data_runs_checksum_on_the_cluster_once(
    put: Put, workspace: Workspace, cluster_runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("/part-0.tsv", b"1\t2\n")
    monkeypatch.setattr(output_check, "CLIENT_BYTES", 3)
    found = _saved(workspace)
    assert (found["rows"], found["method"], found["bytes"]) == (7, "read by Spark", 4)
    [order] = cluster_runs
    assert order.job == "checksum"
    assert order.arguments == [
        "--input",
        "s3://rows-of-b/runs/r1/rows",
        "--format",
        "csv",
        "--sep",
        "\t",
    ]
    # A client that was killed left the run of checksum.
    _saved(workspace)
    assert len(cluster_runs) == 1


def test_save_of_large_data_is_a_warning_if_checksum_fails(
    put: Put, workspace: Workspace, cluster_runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("/part-0.json", b"{}")
    run = replace(DATA, check_output=("s3://rows-of-b/runs/r1/rows?on=cluster",))
    [warning] = output_check.save(workspace, run, lambda check: replace(check, state="FAILED"))
    assert warning.endswith("run check-1 of the job checksum is FAILED")
