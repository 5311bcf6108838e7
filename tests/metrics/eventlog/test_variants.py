"""Every log has equal metrics in any codec, layout or archive."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import zstandard

from emrctl.errors import UsageError
from emrctl.metrics.eventlog import layout, reader
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.model import RunMetrics
from tests import event_logs
from tests.event_logs import PUBLIC, SAMPLE

Encoder = Callable[[bytes], bytes]
Files = dict[str, bytes]

# The largest is 36 MB of text: its goldens are enough.
LOGS = [SAMPLE, *(path for path in PUBLIC if path.stat().st_size < 500_000)]
EVERY_LOG = pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)


text_of = functools.cache(event_logs.text_of)


@functools.cache
def whole(path: Path) -> RunMetrics:
    return reader.read_path(path)


def parts(files: Files) -> list[EventLogFile]:
    return [EventLogFile(name, functools.partial(io.BytesIO, data)) for name, data in files.items()]


def pieces(text: bytes, count: int) -> list[bytes]:
    lines = text.splitlines(keepends=True)
    size = len(lines) // count + 1
    return [b"".join(lines[at : at + size]) for at in range(0, len(lines), size)]


@EVERY_LOG
def test_codecs_return_equal_metrics(path: Path, encoders: dict[str, Encoder]) -> None:
    for name, pack in encoders.items():
        run = reader.read_log(parts({"app": pack(text_of(path))}))
        assert run == whole(path), name


@EVERY_LOG
def test_rolling_folder_returns_equal_metrics(path: Path, encoders: dict[str, Encoder]) -> None:
    packs = list(encoders.values())
    rolled = {
        f"eventlog_v2_a/events_{n}_a.{n % 3}": packs[n % len(packs)](piece)
        for n, piece in enumerate(pieces(text_of(path), 11), 1)
    }
    rolled = {name[:-2]: data for name, data in rolled.items()}
    assert reader.read_log(parts({"eventlog_v2_a/appstatus_a": b""} | rolled)) == whole(path)


@EVERY_LOG
def test_databricks_files_return_equal_metrics(path: Path) -> None:
    *older, last = pieces(text_of(path), 3)
    rolled = {f"x/eventlog-2024-03-02--1{n}-00.gz": gzip.compress(p) for n, p in enumerate(older)}
    assert reader.read_log(parts({"x/eventlog": last} | rolled)) == whole(path)


@EVERY_LOG
def test_archives_return_equal_metrics(path: Path) -> None:
    files = {
        f"eventlog_v2_a/events_{n}_a": piece for n, piece in enumerate(pieces(text_of(path), 3), 1)
    }
    for pack in (zipped, tarred, lambda f: gzip.compress(tarred(f))):
        assert reader.read_log(parts({"an.archive": pack(files)})) == whole(path)


@EVERY_LOG
def test_truncation_is_equal_in_every_codec(path: Path, encoders: dict[str, Encoder]) -> None:
    text = text_of(path)
    cut = text[: text.rindex(b"\n", 0, len(text) * 3 // 5) + 1]
    expected = reader.read_log(parts({"app.inprogress": cut}))
    assert not expected.complete
    assert (expected.bad_lines, expected.duration_ms) == (0, None)
    for name, pack in encoders.items():
        assert reader.read_log(parts({"app.inprogress": pack(cut)})) == expected, name
    torn = reader.read_log(parts({"app.inprogress": cut + b'{"Event":"SparkLi'}))
    assert dataclasses.replace(torn, bad_lines=0) == expected
    assert torn.bad_lines == 1


# Archives


def zipped(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


class Pipe(io.RawIOBase):
    """A stream that is not seekable, with short reads."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, 5000) if size >= 0 else -1)


def piped(data: bytes) -> list[EventLogFile]:
    return [EventLogFile("stdin", lambda: nullcontext(cast("BinaryIO", Pipe(data))))]


@pytest.mark.parametrize("pack", [zipped, tarred], ids=["zip", "tar"])
def test_archives_in_pipes_are_read(
    pack: Callable[[Files], bytes], encoder: Encoder, log: bytes
) -> None:
    expected = reader.read_log(parts({"app": log}))
    packed = pack({"a/app.zstd": encoder(log)})
    assert reader.read_log(piped(packed)) == expected
    assert reader.read_log(piped(log)) == expected
    if pack is tarred:
        small = zstandard.ZstdCompressor().compress(packed)
        assert reader.read_log(piped(small)) == expected


def test_read_logs_separates_attempts_in_an_archive(log: bytes) -> None:
    files = {f"app_{number}": event_logs.attempt(log, number) for number in (2, 1)}
    packed = parts({"eventLogs-app.zip": zipped(files)})
    assert [run.app_attempt for run in reader.read_logs(packed)] == ["1", "2"]
    with pytest.raises(UsageError, match="there are 2 event logs"):
        reader.read_log(packed)


def test_read_logs_separates_attempts_in_a_folder(log: bytes) -> None:
    one, two = pieces(log, 2)
    rolled = {
        "events_1_app_1.zstd": one,
        "events_2_app_1.zstd.compact": one,
        "events_1_app_2": one,
        "events_2_app_2": two,
    }
    found = reader.read_logs(parts(rolled))
    assert [run.complete for run in found] == [False, True]


def test_folder_of_archives_and_logs_is_read(tmp_path: Path, log: bytes) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "app.zip").write_bytes(zipped({"in": log}))
    (tmp_path / "app").write_bytes(log)
    (tmp_path / "README.md").write_text("nothing\n")
    (tmp_path / "_SUCCESS").touch()
    refused: list[UsageError] = []
    found = reader.read_logs(layout.list_files(tmp_path), on_refused=refused.append)
    assert len(found) == 2
    assert found[0] == found[1]
    assert [str(error).split("'")[1] for error in refused] == ["README.md"]


@pytest.mark.parametrize("pack", [zipped, tarred], ids=["zip", "tar"])
def test_damaged_archive_is_incomplete(pack: Callable[[Files], bytes], log: bytes) -> None:
    packed = pack({"app": log})
    for at in range(200, len(packed), len(packed) // 40):
        damaged = packed[:at] + bytes(64) + packed[at + 64 :]
        try:
            run = reader.read_log(parts({"a": damaged}))
        except UsageError:
            continue
        assert run.bad_lines or not run.complete or run == reader.read_log(parts({"a": packed}))
    for size in (0, 3, 30, 300, len(packed) // 2):
        try:
            run = reader.read_log(parts({"a": packed[:size]}))
        except UsageError:
            continue
        assert not run.complete


def test_archive_without_event_log_is_rejected() -> None:
    with pytest.raises(UsageError, match="not a Spark event log"):
        reader.read_log(parts({"a.zip": zipped({"a": b"hello\n"})}))
    with pytest.raises(UsageError, match="there is no event log among the files"):
        reader.read_log(parts({"a.zip": zipped({})}))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_log_truncated_in_its_magic_has_zero_metrics(
    size: int, encoder: Encoder, log: bytes
) -> None:
    run = reader.read_log(parts({"app.inprogress": encoder(log)[:size]}))
    assert not run.complete
    assert run.app_id is None
    assert run.tasks_ok == 0
