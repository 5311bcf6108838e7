"""The streaming job, against pandas."""

import argparse
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import streaming
from common.job import JobLog
from tests.jobs.conftest import Run

START = datetime(2026, 1, 1)  # noqa: DTZ001 - UTC: pandas reads Spark's timestamps without a zone


def test_figures_ignore_batches_without_rows() -> None:
    progress = [
        {"numInputRows": rows, "durationMs": {"triggerExecution": ms}}
        for rows, ms in ((100, 500), (0, 9000), (300, 1500), (200, 1000))
    ]
    assert streaming.figures_of(progress) == {
        "batches": 3,
        "rows": 600,
        "rows_per_s": 200.0,
        "batch_s": 1.0,
        "longest_batch_s": 1.5,
    }
    assert streaming.figures_of([])["batch_s"] is None


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
    assert run(streaming, *more)["rows"] == 60
    second = [(95, "a", 1.0), (3, "a", 7.0), (62, "b", 2.0)]  # 3 s is too late
    _write(events, "2.json", second)
    assert run(streaming, *more)["rows"] == 3
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


class _Query:
    """A streaming query that runs until it is stopped; its `files` have the file after 3 looks."""

    stopped = False
    looks: list[str]

    def __init__(self) -> None:
        self.looks = []

    def awaitTermination(self, timeout_s: float) -> bool:  # noqa: N802
        return self.stopped

    def stop(self) -> None:
        self.stopped = True

    def exists(self, path: str) -> bool:
        self.looks.append(path)
        return len(self.looks) == 3


def test_wait_stops_the_query_when_the_stop_file_exists() -> None:
    query = _Query()
    args = argparse.Namespace(output="s3://b/o", seconds=None)
    files: Any = query
    streaming.wait(query, files, args, JobLog("streaming"))
    assert query.stopped
    assert query.looks == ["s3://b/o/stop"] * 3


def test_wait_stops_the_query_after_seconds() -> None:
    query = _Query()
    files: Any = query
    streaming.wait(query, files, argparse.Namespace(output="o", seconds=1e-9), JobLog("streaming"))
    assert len(query.looks) == 1


@pytest.mark.spark
def test_streaming_rejects_missing_input(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--source", "files", "--input", f"{tmp_path}/none", "--output", str(tmp_path)]
    assert streaming.main(arguments) == 2
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        streaming.main(["--source", "kafka", "--input", "topic", "--output", "o"])
