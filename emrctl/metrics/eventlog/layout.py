"""Finds the files of each event log and their order, and opens archives of event logs.

Supported layouts: a single file; Spark's rolling folder `eventlog_v2_*` with `events_<n>_*`, where
a `.compact` file replaces all files up to its number; Databricks' `eventlog-<date>.gz` and plain
`eventlog`, which are ordered by their content; and the folder of Spark 1.2 with `EVENT_LOG_1`.

Archives (zip, tar) are recognised by their first bytes, also if compressed. Those that are
compressed or not seekable (pipes, S3 objects) are copied to a temporary file first. Names from
archives are never used as paths.
"""

from __future__ import annotations

import functools
import io
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Self, cast

from emrctl import redact
from emrctl.errors import NotFoundError, UsageError
from emrctl.metrics.eventlog import codecs

_EVENTS = re.compile(r"events_(\d+)_(.+)")
_DATABRICKS = re.compile(r"eventlog(-\d{4}-[\d-]+)?(\.\w+)?")
_ROLLOVER = re.compile(rb'"Rollover Number":\s*(\d+)')
_EVENT_TIME = re.compile(
    rb'"(?:Timestamp|time|(?:Launch|Finish|Submission|Completion) Time)":\s*(\d{12,})'
)
_APPLICATION_START = b"SparkListenerApplicationStart"
_OLD_EVENTS = re.compile(r"EVENT_LOG_(\d+)")
_OLD_VERSION = re.compile(r"SPARK_VERSION_(.+)")
# Suffixes after the application's name: compression, and Spark's state of the file.
_SUFFIXES = re.compile(r"(\.(zstd?|lz4|lzf|snappy|gz|compact|inprogress))+$")
_STATUS = "appstatus_"
# Files without events, and unfinished files.
_IGNORED = re.compile(r"[._].*|appstatus_.*|APPLICATION_COMPLETE|.*\.compact\.inprogress")


@dataclass(frozen=True)
class EventLogFile:
    """One file of an event log: its relative path, and a function that opens it."""

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]

    @property
    def folder(self) -> str:
        """The path of the folder, or an empty string."""
        return self.name.rpartition("/")[0]

    @property
    def base(self) -> str:
        """The name without folders."""
        return self.name.rpartition("/")[2]


EventLogFiles = tuple[EventLogFile, ...]


@dataclass(frozen=True)
class LogLayout:
    """The files of one event log in order, the names of missing ones, and notes on the layout.

    `spark_version` is set if a file name contains it.
    """

    files: EventLogFiles
    spark_version: str | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def list_files(path: Path) -> EventLogFiles:
    """Return the file at `path`, or all files in the folder."""
    if not path.exists():
        raise NotFoundError(f"no event log at {redact.text(str(path))}")
    if not path.is_dir():
        return (EventLogFile(path.name, functools.partial(_open, path)),)
    return tuple(
        EventLogFile(item.relative_to(path).as_posix(), functools.partial(_open, item))
        for item in sorted(path.rglob("*"))
        if item.is_file()
    )


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def group_files(files: Iterable[EventLogFile]) -> tuple[EventLogFiles, ...]:
    """Group files by event log, sorted by folder; each application attempt is a log."""
    folders: dict[str, list[EventLogFile]] = {}
    for file in files:
        folders.setdefault(file.folder, []).append(file)
    return tuple(log for name in sorted(folders) for log in _group_folder(folders[name]))


def _group_folder(files: list[EventLogFile]) -> list[EventLogFiles]:
    rolling: dict[str, list[EventLogFile]] = {}
    databricks, old, single, status = [], [], [], []
    has_old_events = any(_OLD_EVENTS.fullmatch(file.base) for file in files)
    for file in files:
        name = file.base
        if match := _EVENTS.fullmatch(name):
            if not _IGNORED.fullmatch(name):
                rolling.setdefault(_SUFFIXES.sub("", match[2]), []).append(file)
        elif _OLD_EVENTS.fullmatch(name) or (has_old_events and _OLD_VERSION.fullmatch(name)):
            old.append(file)
        elif _IGNORED.fullmatch(name):
            status += [file] if name.startswith(_STATUS) else []
        elif _DATABRICKS.fullmatch(name):
            databricks.append(file)
        else:
            single.append(file)
    # A status file without event files is a log whose event files are all missing.
    empty = [] if rolling else status
    logs = [tuple(group) for group in (*rolling.values(), databricks, old, empty) if group]
    return logs + [(file,) for file in single]


def select_log(files: Iterable[EventLogFile]) -> EventLogFiles:
    """Return the files of the only event log; raise `UsageError` for none or several."""
    logs = group_files(files)
    if not logs:
        raise no_event_log()
    if len(logs) > 1:
        names = ", ".join(redact.text(log[0].name) for log in logs[:4])
        message = f"there are {len(logs)} event logs, not one: {names}"
        raise UsageError(message, hint="Give the path of one of them.")
    return logs[0]


def no_event_log() -> UsageError:
    """Return the error for files without any event log."""
    message = "there is no event log among the files"
    return UsageError(message, hint="Give the path of an event log or its folder.")


def order_files(files: EventLogFiles) -> LogLayout:
    """Return the files of one log in the order of their events."""
    if all(file.base.startswith(_STATUS) for file in files):
        return LogLayout((), missing=("every file of events",))
    if all(_EVENTS.fullmatch(file.base) for file in files):
        return _rolling(files)
    if any(_OLD_EVENTS.fullmatch(file.base) for file in files):
        return _spark_1_2(files)
    return LogLayout(_databricks(files))


def _databricks(files: EventLogFiles) -> EventLogFiles:
    """Return the parts in the order of their events.

    Names are those that Databricks gave them: the plain `eventlog` is the last one. But archives of
    them were seen with other names, so that the content is decisive where it says anything.
    """
    ordered = sorted(files, key=lambda file: (not file.base.startswith("eventlog-"), file.base))
    if len(files) < 2:
        return files
    starts = {file.name: _start(file) for file in ordered}
    numbers, times = zip(*starts.values(), strict=True)
    if None not in numbers and len({*numbers}) == len(files):
        return tuple(sorted(ordered, key=lambda file: starts[file.name][0] or 0))
    if None not in times:
        return tuple(sorted(ordered, key=lambda file: starts[file.name][1] or 0))
    return tuple(ordered)


def _start(file: EventLogFile) -> tuple[int | None, int | None]:
    """Return the number of a part and the time in ms of its first event that has one."""
    number, lines = None, b""
    try:
        with file.open() as stream:
            for block in codecs.decode(stream):
                *whole, lines = (lines + block).split(b"\n")
                for line in whole:
                    if match := _ROLLOVER.search(line):
                        number = int(match[1])
                    if _APPLICATION_START in line:
                        return number, 0
                    if times := _EVENT_TIME.findall(line):
                        # A finished task has the time of its launch, too.
                        return number, max(map(int, times))
                if len(lines) > _MAX_MEMORY_BYTES:
                    break
    except codecs.CutError:
        pass
    return number, None


def _rolling(files: EventLogFiles) -> LogLayout:
    notes: tuple[str, ...] = ()
    first = 1
    if compacted := [_number(file) for file in files if _is_compact(file)]:
        # Spark deletes the files that a compact file replaces some time after it is complete.
        first = max(compacted)
        files = tuple(
            file
            for file in files
            if _number(file) > first or (_number(file) == first and _is_compact(file))
        )
        notes = (f"events_{first} is compacted: figures of finished jobs may be missing",)
    numbers = {_number(file) for file in files}
    # Limit the range: a number may be damaged.
    expected = range(first, max(numbers) + 1)[: len(files) + 100]
    missing = tuple(f"events_{number}" for number in expected if number not in numbers)
    return LogLayout(tuple(sorted(files, key=_number)), missing=missing, notes=notes)


def sequence_number(name: str) -> int:
    """Return the number of a file of a rolling log, whose name is `events_<n>_*`; 0 for others."""
    match = _EVENTS.fullmatch(name)
    return int(match[1]) if match else 0


def _number(file: EventLogFile) -> int:
    return sequence_number(file.base)


def _is_compact(file: EventLogFile) -> bool:
    return file.base.endswith(".compact")


def _spark_1_2(files: EventLogFiles) -> LogLayout:
    versions = [match[1] for file in files if (match := _OLD_VERSION.fullmatch(file.base))]
    events = [file for file in files if _OLD_EVENTS.fullmatch(file.base)]
    events.sort(key=lambda file: int(file.base.rpartition("_")[2]))
    return LogLayout(tuple(events), spark_version=versions[0] if versions else None)


_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_AT, _TAR = 257, b"ustar"
# A zstd block decodes to 128 KB at most; the first must be whole, however little it is compressed.
_HEAD_BYTES = 1 << 18
_MAX_MEMORY_BYTES = 16 << 20
_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.zstd", ".tzst")
# Raised by zipfile and tarfile for damaged, truncated or encrypted archives.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


@contextmanager
def unpack(files: EventLogFiles) -> Iterator[tuple[EventLogFiles, list[str]]]:
    """Replace archives by their members, which are readable inside the context.

    Checks a single file, and files with the suffix of an archive. Also yields descriptions of
    damage to the archives.
    """
    with ExitStack() as stack:
        members: list[EventLogFile] = []
        damage: list[str] = []
        for file in files:
            if len(files) == 1 or file.base.lower().endswith(_ARCHIVE_SUFFIXES):
                members += _members(file, stack, damage)
            else:
                members.append(file)
        yield tuple(members), damage


def _members(file: EventLogFile, stack: ExitStack, damage: list[str]) -> list[EventLogFile]:
    stream = stack.enter_context(file.open())
    head = codecs.PeekedStream(stream).read(_HEAD_BYTES)
    whole = codecs.PeekedStream(stream, head)
    try:
        if head.startswith(_ZIP):
            return _zip_members(_seekable(stream, whole, stack), stack)
        if _is_tar(head):
            return _tar_members(_seekable(stream, whole, stack), stack, damage)
        if _is_tar(_decoded_head(head)):
            blocks = codecs.DecodedStream(whole).blocks()
            return _tar_members(_spool(blocks, stack, damage), stack, damage)
    except _DAMAGE as error:
        raise UsageError(
            f"cannot open the archive '{redact.text(file.base)}': {error}",
            hint="Create the archive again, or extract it and give the path of an event log.",
        ) from error
    return [EventLogFile(file.name, lambda: cast("BinaryIO", _MemberStream(whole)))]


class _MemberStream:
    """A file-like stream that raises `CutError` if its archive is damaged."""

    def __init__(self, stream: codecs.PeekedStream | IO[bytes] | Exception) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        try:
            if isinstance(self._stream, Exception):
                raise self._stream
            return self._stream.read(size)
        except _DAMAGE as error:
            raise codecs.CutError(f"damaged archive: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the stream open: the archive's next member needs it."""


def _is_tar(head: bytes) -> bool:
    return head[_TAR_AT:].startswith(_TAR)


def _decoded_head(head: bytes) -> bytes:
    """Return the first decoded bytes of a stream that starts with `head`."""
    if codecs.detect_codec(head[:8]) == "plain":
        return head
    decoded = b""
    try:
        for block in codecs.decode(io.BytesIO(head)):
            decoded += block
            if len(decoded) > _TAR_AT + len(_TAR):
                break
    except codecs.CutError:
        return decoded
    return decoded


def _seekable(stream: BinaryIO, whole: codecs.PeekedStream, stack: ExitStack) -> IO[bytes]:
    if stream.seekable():
        stream.seek(0)
        return stream
    return _spool(iter(lambda: whole.read(codecs.BLOCK_BYTES), b""), stack, [])


def _spool(blocks: Iterable[bytes], stack: ExitStack, damage: list[str]) -> IO[bytes]:
    spool = tempfile.SpooledTemporaryFile(max_size=_MAX_MEMORY_BYTES)  # noqa: SIM115 - in `stack`
    file = stack.enter_context(spool)
    try:
        for block in blocks:
            file.write(block)
    except codecs.CutError as error:
        damage.append(f"the archive is truncated: {error}")
    file.seek(0)
    return cast("IO[bytes]", file)


def _zip_members(file: IO[bytes], stack: ExitStack) -> list[EventLogFile]:
    archive = stack.enter_context(zipfile.ZipFile(file))
    names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    return [_member(name, functools.partial(archive.open, name)) for name in names]


def _tar_members(file: IO[bytes], stack: ExitStack, damage: list[str]) -> list[EventLogFile]:
    archive = stack.enter_context(tarfile.open(fileobj=file, mode="r:"))  # noqa: SIM115
    members: list[tarfile.TarInfo] = []
    try:
        members += (member for member in archive if member.isfile())
    except _DAMAGE as error:
        damage.append(f"the archive is truncated: {error}")
    members.sort(key=lambda member: member.name)
    return [_member(m.name, functools.partial(archive.extractfile, m)) for m in members]


def _member(name: str, open_member: Callable[[], IO[bytes] | None]) -> EventLogFile:
    def open_stream() -> BinaryIO:
        try:
            return cast("BinaryIO", _MemberStream(open_member() or io.BytesIO()))
        except _DAMAGE as error:
            return cast("BinaryIO", _MemberStream(error))

    return EventLogFile(name.removeprefix("./").lstrip("/"), open_stream)
