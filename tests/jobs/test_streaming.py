"""The streaming job, against pandas."""

import argparse
import json
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import streaming
from common.job import JobLog
from common.streams import BatchFigures
from tests.jobs.conftest import Run

START = datetime(2026, 1, 1)  # noqa: DTZ001 - UTC: pandas reads Spark's timestamps without a zone


def _batch(number: int, rows: int, ms: int, late: int = 0) -> dict[str, Any]:
    """Return the progress of a batch as Spark reports it."""
    state = {"numRowsTotal": 10 * number, "memoryUsedBytes": 100, "numRowsDroppedByWatermark": late}
    return {
        "batchId": number,
        "numInputRows": rows,
        "inputRowsPerSecond": rows / 2,
        "durationMs": {"triggerExecution": ms},
        "stateOperators": [state],
        "eventTime": {"watermark": f"2026-01-01T00:00:0{number}.000Z"},
    }


def test_batch_figures_add_each_batch_once_and_ignore_those_without_rows() -> None:
    figures = BatchFigures()
    assert figures.to_json()["batch_s"] is None
    assert figures.add([_batch(4, 100, 500), _batch(5, 300, 1500, late=2)])
    assert not figures.add([_batch(5, 300, 1500, late=2), _batch(6, 0, 9000)])
    assert figures.add([_batch(6, 0, 9000), _batch(7, 200, 1000, late=1)])
    assert figures.to_json() == {
        "batches": 3,
        "last_batch": 7,
        "rows": 600,
        "late_rows": 3,
        "input_rows_per_s": 100.0,
        "processed_rows_per_s": 200.0,
        "batch_s": 1.0,
        "longest_batch_s": 1.5,
        "state_rows": 70,
        "state_bytes": 100,
        "watermark": "2026-01-01T00:00:07.000Z",
    }


def _write(folder: Path, name: str, rows: list[tuple[int, str, float]]) -> None:
    folder.mkdir(exist_ok=True)
    lines = [
        json.dumps(
            {"time": f"{(START + timedelta(seconds=s)).isoformat()}Z", "key": key, "value": value}
        )
        for s, key, value in rows
    ]
    (folder / name).write_text("\n".join(lines) + "\n")


@pytest.mark.spark
def test_streaming_writes_closed_windows_and_continues(run: Run, tmp_path: Path) -> None:
    events = tmp_path / "events"
    first = [(second, "ab"[second % 2], float(second)) for second in range(60)]
    _write(events, "1.json", first)
    more = ("--source", "files", "--input", str(events), "--once", "--window", "10", "--late", "20")
    figures = run(streaming, *more)
    assert figures["rows"] == 60
    assert figures["watermark"] == "2026-01-01T00:00:39.000Z"
    assert figures["state_rows"] == 6  # windows 30-40, 40-50 and 50-60 s of two keys
    second = [(95, "a", 1.0), (3, "a", 7.0), (62, "b", 2.0)]  # 3 s is too late
    _write(events, "2.json", second)
    figures = run(streaming, *more)
    assert (figures["rows"], figures["late_rows"]) == (3, 1)
    found = pd.read_parquet(tmp_path / "out" / "windows")
    # The watermark is 95 - 20 = 75 s.
    rows = pd.DataFrame([*first, second[2]], columns=["s", "key", "value"])
    rows["start"] = rows["s"] // 10
    expected = rows[rows["start"] < 7].groupby(["start", "key"])["value"].agg(["size", "sum"])
    assert len(found) == len(expected)
    for row in found.itertuples():
        start = int((row.start - pd.Timestamp(START)).total_seconds())
        assert (row.end - row.start).total_seconds() == 10
        assert (row.events, row.total) == tuple(expected.loc[(start // 10, row.key)])


def _stop_after_a_batch(output: Path) -> None:
    """Create the file `stop` once result.json, which is written while the query runs, exists."""
    while not (output / "result.json").exists():
        time.sleep(0.1)
    (output / "stop").touch()


@pytest.mark.spark
def test_streaming_of_a_rate_stops_on_request(run: Run, tmp_path: Path) -> None:
    thread = threading.Thread(target=_stop_after_a_batch, args=(tmp_path / "out",), daemon=True)
    thread.start()
    figures = run(streaming, "--rate", "50", "--window", "1", "--late", "1")
    thread.join()
    assert not (tmp_path / "out" / "stop").exists()
    assert figures["batches"] > 0
    assert figures["rows"] % 50 == 0
    assert figures["state_rows"] > 0


class _Query:
    """A query of one batch per second; its `files` have the file `stop` after 3 looks."""

    stopped = False

    def __init__(self) -> None:
        self.looks: list[str] = []
        self.written: list[dict[str, Any]] = []

    @property
    def recentProgress(self) -> list[dict[str, Any]]:  # noqa: N802
        return [_batch(number, 10, 100) for number in range(len(self.looks) + 1)]

    def awaitTermination(self, timeout_s: float) -> bool:  # noqa: N802
        return self.stopped

    def stop(self) -> None:
        self.stopped = True

    def exists(self, path: str) -> bool:
        self.looks.append(path)
        return len(self.looks) == 3

    def write(self, path: str, content: bytes) -> None:
        assert path == "s3://b/o/result.json"
        self.written.append(json.loads(content)["figures"])


def _follow(query: _Query, seconds: float | None) -> BatchFigures:
    args = argparse.Namespace(output="s3://b/o", seconds=seconds)
    files: Any = query
    return streaming.follow(query, files, args, JobLog("streaming"))


def test_follow_stops_the_query_when_the_stop_file_exists() -> None:
    query = _Query()
    figures = _follow(query, None)
    assert query.stopped
    assert query.looks == ["s3://b/o/stop"] * 3
    assert figures.to_json()["batches"] == 4
    assert [item["batches"] for item in query.written] == [1]  # then every REPORT_S seconds


def test_follow_stops_the_query_after_seconds() -> None:
    query = _Query()
    _follow(query, 1e-9)
    assert query.stopped
    assert not query.looks


@pytest.mark.spark
def test_streaming_rejects_missing_input(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--source", "files", "--input", f"{tmp_path}/none", "--output", str(tmp_path)]
    assert streaming.main(arguments) == 2
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        streaming.main(["--source", "kafka", "--input", "topic", "--output", "o"])
