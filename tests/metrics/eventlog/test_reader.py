from __future__ import annotations

import dataclasses
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from emrctl.errors import NotFoundError, UsageError
from emrctl.metrics.eventlog import codecs, layout, reader
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.model import RunMetrics

Encoder = Callable[[bytes], bytes]


def part(name: str, data: bytes) -> EventLogFile:
    return EventLogFile(name, lambda: io.BytesIO(data))


def read(*events: dict[str, Any]) -> RunMetrics:
    data = b"\n".join(json.dumps(event).encode() for event in events)
    return reader.read_log([part("app-1", data)])


def split(data: bytes, pieces: int) -> list[bytes]:
    lines = data.splitlines(keepends=True)
    size = len(lines) // pieces + 1
    return [b"".join(lines[at : at + size]) for at in range(0, len(lines), size)]


# Codecs


def test_read_log_in_any_codec_returns_equal_metrics(
    encoder: Encoder, log: bytes, whole: RunMetrics, tmp_path: Path
) -> None:
    path = tmp_path / "a-name-without-suffix"
    path.write_bytes(encoder(log))
    assert reader.read_path(path) == whole


def test_decode_returns_the_original_bytes(encoder: Encoder, log: bytes) -> None:
    assert b"".join(codecs.decode(io.BytesIO(encoder(log)))) == log


def test_read_log_of_a_truncated_log_is_incomplete(
    encoder: Encoder, log: bytes, whole: RunMetrics
) -> None:
    packed = encoder(log)
    run = reader.read_log([part("app.inprogress", packed[: len(packed) * 3 // 4])])
    assert not run.complete
    assert run.app_id == whole.app_id
    assert run.duration_ms is None
    assert "the log has no ApplicationEnd event" in run.notes


def test_read_log_from_a_stream_with_short_reads(
    encoder: Encoder, log: bytes, whole: RunMetrics
) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 777))

    assert reader.read_log([EventLogFile("s3-object", lambda: Slow(encoder(log)))]) == whole


def test_read_log_with_damaged_bytes_is_incomplete(encoder: Encoder, log: bytes) -> None:
    packed = encoder(log)
    dice = random.Random(7)  # noqa: S311
    for _ in range(12):
        damaged = bytearray(packed)
        at = dice.randrange(len(damaged) // 8, len(damaged) - 64)
        damaged[at : at + 24] = bytes(24)
        run = reader.read_log([part("app", bytes(damaged))])
        assert run.bad_lines or not run.complete


@pytest.mark.parametrize(
    "packed",
    [
        b"ZV\x01\x00\x02\x00\x09\xff\xff",
        b"ZV\x01\x00\x03\x00\x09\x20\x00\x00",
        b"ZV\x01\x00\x02\x00\x09\x00a",
        b"LZ4Block\x25\x05\x00\x00\x00\xff\xff\xff\x7f\x00\x00\x00\x00abcde",
        b"LZ4Block\x25\x05\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00abcde",
        b"LZ4Block\x25",
        b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x7f\xff\xff\xff",
        b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x06\xff\xff\xff\xff\x0fa",
        b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00",
        b"\x28\xb5\x2f\xfdrubbish",
        b"\x1f\x8brubbish",
        b"\x1f\x8b",
    ],
)
def test_decode_of_a_damaged_block_raises_cut_error(packed: bytes) -> None:
    with pytest.raises(codecs.CutError):
        list(codecs.decode(io.BytesIO(packed)))


# Layouts


def test_rolling_files_are_read_in_numeric_order(log: bytes, whole: RunMetrics) -> None:
    pieces = split(log, 12)
    parts = [part(f"events_{n}_local-1", data) for n, data in enumerate(pieces, 1)]
    parts.sort(key=lambda p: p.name)  # 10 before 2
    parts.append(part("appstatus_local-1", b""))
    assert reader.read_log(parts) == whole


def test_rolling_folder_with_mixed_codecs(
    log: bytes, whole: RunMetrics, tmp_path: Path, encoder: Encoder
) -> None:
    folder = tmp_path / "eventlog_v2_local-1"
    folder.mkdir()
    first, second = split(log, 2)
    (folder / "events_1_local-1.zstd").write_bytes(encoder(first))
    (folder / "events_2_local-1").write_bytes(second)
    (folder / "appstatus_local-1").touch()
    assert reader.read_path(folder) == whole


def test_compact_file_replaces_files_up_to_its_number(log: bytes, whole: RunMetrics) -> None:
    one, two, three, four = split(log, 4)
    run = reader.read_log(
        [
            part("events_1_a", b"to be deleted"),
            part("events_3_a", three),
            part("events_3_a.compact", one + two + three),
            part("events_4_a", four),
        ]
    )
    assert run.notes == ("events_3 is compacted: figures of finished jobs may be missing",)
    assert dataclasses.replace(run, notes=()) == whole


def test_missing_rolling_file_is_noted(log: bytes) -> None:
    pieces = split(log, 4)
    parts = [part(f"events_{n}_a", pieces[n - 1]) for n in (1, 2, 4)]
    run = reader.read_log(parts)
    assert not run.complete
    assert run.notes[0] == "events_3 is missing"
    assert "events_1 is missing" in reader.read_log(parts[1:]).notes


def test_databricks_files_end_with_the_plain_one(log: bytes, whole: RunMetrics) -> None:
    one, two, three = split(log, 3)
    parts = [
        part("eventlog", three),
        part("eventlog-2024-03-02--11-00.gz", two),
        part("eventlog-2024-03-02--10-30.gz", one),
    ]
    assert reader.read_log(parts) == whole


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
def test_databricks_files_are_ordered_by_content(
    log: bytes, whole: RunMetrics, order: tuple[int, ...], numbered: bool
) -> None:
    names = [
        "eventlog",
        "eventlog-2024-03-02--10-30.gz",
        "eventlog-2024-03-02--9-00.gz",
        "eventlog-2024-03-01--11-00",
    ]
    parts = []
    for at, piece in enumerate(split(log, 4)):
        head = {"Event": "DBCEventLoggingListenerMetadata", "Rollover Number": at}
        head["Spark Version"] = str(whole.spark_version)
        first = json.dumps(head).encode() + b"\n" if numbered else b""
        parts.append(part(f"x/{names[order[at]]}", first + piece))
    assert reader.read_log(parts) == whole
    [packed] = [reader.read_logs([part("a.zip", zipped(parts))])]
    assert packed == (whole,)


def zipped(parts: list[EventLogFile]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for one in parts:
            with one.open() as stream:
                archive.writestr(one.name, stream.read())
    return file.getvalue()


def test_spark_1_2_version_comes_from_a_file_name(log: bytes, whole: RunMetrics) -> None:
    start, _, rest = log.partition(b"\n")
    assert b"LogStart" in start
    parts = [part("APPLICATION_COMPLETE", b""), part("SPARK_VERSION_1.2.0", b"")]
    run = reader.read_log([*parts, part("EVENT_LOG_1", rest)])
    assert run == dataclasses.replace(whole, spark_version="1.2.0")


def test_read_logs_separates_attempts(tmp_path: Path, log: bytes) -> None:
    start = b'{"Event":"SparkListenerApplicationStart","App Name":"x","App ID":"app",'
    for attempt in (b"10", b"2"):
        text = start + b'"Timestamp":1,"User":"u","App Attempt ID":"' + attempt + b'"}\n'
        (tmp_path / f"app_{attempt.decode()}").write_bytes(text)
    (tmp_path / "eventlog_v2_z").mkdir()
    (tmp_path / "eventlog_v2_z" / "events_1_z").write_bytes(log)
    (tmp_path / ".app.crc").write_bytes(b"crc")
    found = reader.read_logs(layout.list_files(tmp_path))
    assert [run.app_attempt for run in found] == ["2", "10", None]
    with pytest.raises(UsageError, match="there are 3 event logs, not one: app_10, app_2"):
        reader.read_path(tmp_path)


def test_two_applications_in_one_file_are_incomplete(log: bytes, whole: RunMetrics) -> None:
    app_id = whole.app_id
    assert app_id is not None
    other = log.replace(app_id.encode(), b"local-2")
    run = reader.read_log([part("both", log + other)])
    assert not run.complete
    assert "the log contains a second application or attempt" in run.notes


# Damage


def test_empty_log_has_zero_metrics(tmp_path: Path) -> None:
    path = tmp_path / "app.inprogress"
    path.touch()
    run = reader.read_path(path)
    assert run == RunMetrics(notes=("the log has no ApplicationEnd event",))


def test_lines_without_event_are_bad_lines(log: bytes, whole: RunMetrics) -> None:
    lines = log.splitlines(keepends=True)
    lines[3:3] = [b"[1,2]\n", b'{"no":"event"}\n', b"\n", b"  \n", b'{"Event":\n', b"\xff\xfe\n"]
    run = reader.read_log([part("app", b"".join(lines))])
    assert run.bad_lines == 4
    assert not run.complete
    assert dataclasses.replace(run, bad_lines=0, complete=True) == whole


def test_other_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello\nworld\n")
    with pytest.raises(UsageError, match=r"'notes.txt' is not a Spark event log"):
        reader.read_path(path)
    with pytest.raises(NotFoundError, match="no event log at"):
        reader.read_path(tmp_path / "absent")
    with pytest.raises(UsageError, match="there is no event log among the files"):
        reader.read_log([part("_SUCCESS", b""), part(".app.crc", b"crc")])


def test_rolling_folder_without_events_has_zero_metrics() -> None:
    run = reader.read_log([part("eventlog_v2_app/appstatus_app.inprogress", b"")])
    notes = ("every file of events is missing", "the log has no ApplicationEnd event")
    assert run == RunMetrics(notes=notes)


def test_line_of_many_megabytes_is_one_line() -> None:
    event = {"Event": "SparkListenerApplicationStart", "App Name": "x" * 9_000_000, "Timestamp": 1}
    run = read(event, {"Event": "SparkListenerApplicationEnd", "Timestamp": 5})
    assert run.app_name == event["App Name"]
    assert (run.duration_ms, run.complete) == (4, True)


def test_events_without_required_fields_are_noted() -> None:
    run = read(
        {"Event": "SparkListenerTaskEnd"},
        {"Event": ["no", "name"]},
        {"Event": "SparkListenerJobStart", "Job ID": {}},
        {"Event": "SparkListenerSomethingNew", "x": 1},
    )
    assert run.bad_lines == 0
    assert "3 events lack fields or have invalid ones" in run.notes


def test_lines_that_are_not_strict_json_are_read() -> None:
    data = (
        b'{"Event":"SparkListenerApplicationStart","App Name":"\\ud800 \xe9","Timestamp":1,"x":NaN}'
    )
    run = reader.read_log([part("app", data)])
    assert run.bad_lines == 0
    assert run.app_name is not None
    assert run.app_name.endswith("\N{REPLACEMENT CHARACTER}")


def test_lost_task_end_is_noted(log: bytes) -> None:
    lines = log.splitlines(keepends=True)
    lost = next(n for n, line in enumerate(lines) if b"SparkListenerTaskEnd" in line)
    del lines[lost]
    run = reader.read_log([part("app", b"".join(lines))])
    assert not run.complete
    assert run.notes == (
        "stage 0: the log has 7 of 8 successful tasks",
        "1 tasks started without an end",
    )


def test_damaged_lines_do_not_raise(log: bytes) -> None:
    dice = random.Random(3)  # noqa: S311
    lines = log.splitlines(keepends=True)
    for _ in range(40):
        mutated = bytearray(b"".join(dice.sample(lines, 40)))
        for _ in range(60):
            mutated[dice.randrange(len(mutated))] = dice.choice(b'{}[]":,0x\n')
        run = reader.read_log([part("app", bytes(mutated))])
        assert RunMetrics.from_json(run.to_json()) == run


def test_read_log_closes_the_stream(log: bytes) -> None:
    opened: list[BinaryIO] = []

    def opener() -> BinaryIO:
        opened.append(io.BytesIO(log))
        return opened[-1]

    reader.read_log([EventLogFile("app", opener)])
    assert [stream.closed for stream in opened] == [True]


# Structure of stages


def _stage_event(
    name: str, stage: int, *rdds: dict[str, Any], parents: list[int]
) -> dict[str, Any]:
    info = {"Stage ID": stage, "Stage Attempt ID": 0, "Parent IDs": parents, "RDD Info": list(rdds)}
    return {"Event": f"SparkListenerStage{name}", "Stage Info": info}


@pytest.mark.parametrize("name", ["Submitted", "Completed"])
def test_read_log_returns_job_parents_and_operators_of_stages(name: str) -> None:
    rdds: list[dict[str, Any]] = [
        {"RDD ID": 9, "Name": "PythonRDD", "Parent IDs": [8]},
        {"RDD ID": 8, "Name": "x", "Scope": '{"id":"3","name":"Exchange"}', "Parent IDs": []},
        {"RDD ID": 7, "Name": "damaged scope", "Scope": "{", "Parent IDs": []},
    ]
    run = read(
        {"Event": "SparkListenerJobStart", "Job ID": 5, "Stage IDs": [1, 2]},
        {"Event": "SparkListenerJobStart", "Job ID": 4, "Stage IDs": [2]},
        _stage_event(name, 2, *rdds, parents=[1]),
    )
    (stage,) = run.stages
    assert (stage.job, stage.parents) == (4, (1,))
    assert stage.operators == ("damaged scope", "Exchange", "PythonRDD")
    assert RunMetrics.from_json(run.to_json()) == run
