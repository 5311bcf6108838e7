"""`emrctl metrics` on paths, pipes, S3 and runs, with JSON, table and file output."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from emrctl.aws.target import Target
from emrctl.cli import log_sources
from emrctl.cli.__main__ import main
from emrctl.errors import EmrctlError, NotFoundError
from emrctl.metrics.eventlog import reader
from emrctl.metrics.model import RunMetrics
from emrctl.runs.storage import LocalStorage
from emrctl.runs.store import RunFiles, Store
from tests import event_logs
from tests.event_logs import SAMPLE

HERE = Path(__file__).parent
# The public keys, in their order.
TOP = """app_id app_attempt app_name spark_version start_ms end_ms duration_ms jobs jobs_succeeded
jobs_failed stages_completed stages_failed tasks_ok tasks_failed tasks_killed executor_run_time_ms
executor_cpu_time_ns jvm_gc_time_ms input_bytes output_bytes shuffle_read_bytes
shuffle_write_bytes memory_spilled_bytes disk_spilled_bytes peak_executors bad_lines complete
notes stages executors sql environment"""

Emrctl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def emrctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Emrctl:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(["metrics", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_json_has_the_public_keys_in_order(emrctl: Emrctl) -> None:
    code, out, err = emrctl(str(SAMPLE), "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert " ".join(document).startswith(" ".join(TOP.split()))
    assert document["tasks_ok"] == 87
    stage = document["stages"][0]
    for name in ("id", "attempt", "status", "name", "submitted_ms", "completed_ms", "tasks"):
        assert name in stage
    assert set(stage["duration_ms_quantiles"]) == {"min", "p25", "median", "p75", "max"}


def test_tasks_are_printed_first(emrctl: Emrctl) -> None:
    document = json.loads(emrctl(str(SAMPLE), "--json", "--tasks")[1])
    assert list(document)[:2] == ["tasks", "app_id"]
    assert len(document["tasks"]) == 87
    run_ms = sum(row["executor_run_time_ms"] for row in document["tasks"])
    assert run_ms == document["executor_run_time_ms"]
    lines = emrctl(str(SAMPLE), "--tasks")[1].splitlines()
    rows = list(csv.DictReader(lines[:88], delimiter="\t"))
    assert sum(int(row["executor_run_time_ms"]) for row in rows) == run_ms


def test_json_of_a_log_without_tasks_has_an_empty_list(
    emrctl: Emrctl, log: bytes, tmp_path: Path
) -> None:
    empty = tmp_path / "app"
    empty.write_bytes(event_logs.without_tasks(log))
    assert json.loads(emrctl(str(empty), "--json", "--tasks")[1])["tasks"] == []


def test_several_logs_are_a_list_without_tasks(emrctl: Emrctl, log: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"app_{number}").write_bytes(event_logs.attempt(log, number))
    for name in ("gc.ill.zstd", "spill.ill.zstd"):
        shutil.copy(event_logs.RECORDED / name, folder)
    found = json.loads(emrctl(str(folder), "--json")[1])
    assert [run["app_attempt"] for run in found] == [None, None, "1", "2"]
    code, _, err = emrctl(str(folder), "--tasks")
    assert code == 2
    assert "there are 4 event logs, not one" in err


def test_log_from_stdin(tmp_path: Path, whole: RunMetrics) -> None:
    command = [sys.executable, "-m", "emrctl.cli", "metrics", "-", "--json"]
    with SAMPLE.open("rb") as stream:
        done = subprocess.run(command, stdin=stream, capture_output=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["app_id"] == whole.app_id


def test_stages_and_executors_are_printed_as_tables(emrctl: Emrctl) -> None:
    code, out, _ = emrctl(str(SAMPLE), "--stages", "--executors")
    assert code == 0
    assert "collect at /emrctl/tests/metrics/sample.py:14" in out
    assert "413.9 MiB" in out


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_export_writes_all_rows(end: str, emrctl: Emrctl, tmp_path: Path) -> None:
    whole = reader.read_path(SAMPLE)
    code, out, err = emrctl(
        str(SAMPLE), "--stages", "--executors", "--tasks", "--export", f"{tmp_path}/x.{end}"
    )
    assert (code, out) == (0, "")
    assert err.count("rows in") == 3
    assert rows(tmp_path / f"x.tasks.{end}", "executor_run_time_ms") == whole.executor_run_time_ms
    assert rows(tmp_path / f"x.stages.{end}", "tasks_ok") == whole.tasks_ok
    assert rows(tmp_path / f"x.executors.{end}", "complete_tasks") == whole.tasks_ok
    assert emrctl(str(SAMPLE), "--export", f"{tmp_path}/y.{end}")[0] == 0
    assert rows(tmp_path / f"y.{end}", "jobs") == whole.jobs


def rows(path: Path, column: str) -> int:
    if path.suffix == ".csv":
        with path.open(newline="") as stream:
            return sum(int(row[column]) for row in csv.DictReader(stream))
    table = pyarrow.parquet.read_table(path)
    return sum(table.column(column).to_pylist())


def test_export_that_fails_leaves_no_file(emrctl: Emrctl, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_text("hello\n")
    assert emrctl(str(foreign), "--export", "x.csv")[0] == 2
    assert emrctl(str(SAMPLE), "--export", "x.xlsx")[0] == 2
    assert emrctl(str(SAMPLE), "--export", "no/x.csv")[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["foreign"]


def test_missing_path_is_not_found(emrctl: Emrctl) -> None:
    code, _, err = emrctl("no/such/log")
    assert (code, err) == (3, "error: no event log at no/such/log\n")


# S3


def test_logs_on_s3_are_read(mocked: Target, log: bytes, whole: RunMetrics) -> None:
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="pets-logs")
    half = log.index(b"\n", len(log) // 2) + 1
    keys = {
        "spark/eventlog_v2_a/events_1_a": log[:half],
        "spark/eventlog_v2_a/events_2_a": log[half:],
        "spark/eventlog_v2_a/appstatus_a": b"",
        "spark/eventlog_v2_ab/events_1_ab": b"another's",
        "one": log,
    }
    for key, body in keys.items():
        s3.put_object(Bucket="pets-logs", Key=key, Body=body)
    for address in ("s3://pets-logs/one", "s3a://pets-logs/spark/eventlog_v2_a"):
        assert reader.read_log(log_sources.from_s3(s3, address)) == whole
    with pytest.raises(NotFoundError, match="no event log at s3://pets-logs/none"):
        log_sources.from_s3(s3, "s3://pets-logs/none")
    with pytest.raises(NotFoundError, match="cannot list s3://absent/x"):
        log_sources.from_s3(s3, "s3://absent/x")


class FailingS3:
    """An S3 client whose connections break after some bytes."""

    def __init__(self, data: bytes, after: int) -> None:
        self.data = data
        self.after = after
        self.asked: list[str] = []

    def get_object(self, **request: str) -> dict[str, Any]:
        span = request.get("Range", "bytes=0-")
        self.asked.append(span)
        at = int(span.removeprefix("bytes=").rstrip("-"))
        return {"Body": Broken(self.data[at:], self.after)}


class Broken(io.BytesIO):
    def __init__(self, data: bytes, after: int) -> None:
        super().__init__(data)
        self.after = after

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self.after:
            raise ConnectionResetError("reset")
        return super().read(min(size or 0, self.after))


def test_broken_s3_connection_is_resumed(log: bytes) -> None:
    s3 = FailingS3(log, 100_000)
    with log_sources._ObjectStream(s3, "b", "k") as stream:
        got = b"".join(iter(lambda: stream.read(1 << 16), b""))
    assert got == log
    assert len(s3.asked) > 3
    with (
        log_sources._ObjectStream(FailingS3(log, 0), "b", "k") as stream,
        pytest.raises(EmrctlError),
    ):
        stream.read(10)


# Runs


def test_tasks_of_a_stored_run_are_read(tmp_path: Path, log: bytes, whole: RunMetrics) -> None:
    store = Store(LocalStorage(tmp_path))
    store.files("run-1").write("eventlog_v2_a/events_1_a", log, RunFiles.EVENT_LOG)
    seen: list[int] = []
    parts = store.files("run-1").event_log()
    assert reader.read_log(parts, on_task=lambda row: seen.append(row.id)) == whole
    assert len(seen) == 87
    with pytest.raises(NotFoundError, match="run run-2 has no event log in the store"):
        store.files("run-2").event_log()


# Memory


def test_memory_is_independent_of_the_log_size(tmp_path: Path) -> None:
    bench = HERE.parents[1] / "bench" / "bench_eventlog.py"
    spec = importlib.util.spec_from_file_location("bench_eventlog", bench)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plain, packed = module.write_logs(tmp_path, module.SOURCE, 120)
    for name, log in (("emrctl, plain", plain), ("emrctl, zstd", packed)):
        command = [sys.executable, str(bench), "--reader", name, "--log", str(log)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert float(done.stdout.split()[1]) < 80


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"Event":"SparkListenerLogStart","Spark Version":"3.5.0"}\n',
        '{"Event":"other"}\nno event\n',
        '{"Event":["x"]}\n',
        '{"Event":"SparkListenerTaskEnd","Stage ID":"x"}\n',
    ],
)
@pytest.mark.parametrize("command", ["metrics", "advise"])
def test_log_without_application_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, text: str
) -> None:
    (tmp_path / "log").write_text(text, encoding="utf-8")

    with pytest.raises(SystemExit) as stopped:
        main([command, str(tmp_path / "log")])

    assert stopped.value.code == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {tmp_path}/log has no event of an application\n")
