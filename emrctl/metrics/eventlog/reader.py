"""Reads Spark event logs without Spark, in one pass, in any codec and layout.

Truncated or damaged logs are not errors: see `bad_lines`, `complete` and `notes` of the result.
Only files without any event and without a codec of Spark are rejected.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from emrctl import redact
from emrctl.errors import UsageError
from emrctl.metrics.eventlog import codecs, layout
from emrctl.metrics.eventlog.layout import EventLogFile, EventLogFiles
from emrctl.metrics.eventlog.replay import Replay
from emrctl.metrics.model import JobMetrics, RunMetrics, TaskMetrics

OnTask = Callable[[TaskMetrics], None]
# Decoded bytes that are split into lines at once; larger than the blocks of some codecs.
_CHUNK_BYTES = 1 << 19
# Longer lines are no events of Spark and must not fill the memory.
_MAX_LINE_BYTES = 256 << 20
# Number of task events that are added to the tallies at once.
_BATCH = 512
_EVENT = b'{"Event"'
_INVALID = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_path(path: Path) -> RunMetrics:
    """Read the event log at `path`: a file, a folder or an archive."""
    return read_log(layout.list_files(path))


def read_logs(
    files: Iterable[EventLogFile],
    *,
    on_refused: Callable[[UsageError], None] | None = None,
) -> tuple[RunMetrics, ...]:
    """Read all event logs among `files`, sorted by application id and attempt.

    `on_refused` is called for files that are no event logs; if there are no others, the first
    error is raised.
    """
    runs: list[RunMetrics] = []
    errors: list[UsageError] = []
    with layout.unpack(tuple(files)) as (members, damage):
        for log in layout.group_files(members):
            try:
                runs.append(_read(log, damage))
            except UsageError as error:
                errors.append(error)
    if not runs:
        raise errors[0] if errors else layout.no_event_log()
    if on_refused is not None:
        for refusal in errors:
            on_refused(refusal)
    return tuple(sorted(runs, key=_sort_key))


def _sort_key(run: RunMetrics) -> tuple[str, int, str]:
    attempt = run.app_attempt or ""
    return (run.app_id or "", int(attempt) if attempt.isdecimal() else 0, attempt)


def read_log(files: Iterable[EventLogFile], *, on_task: OnTask | None = None) -> RunMetrics:
    """Read the only event log among `files`, given in any order; call `on_task` for each task."""
    with layout.unpack(tuple(files)) as (members, damage):
        return _read(layout.select_log(members), damage, on_task)


def read_jobs(
    files: Iterable[EventLogFile],
) -> tuple[RunMetrics, list[JobMetrics], list[TaskMetrics]]:
    """Read the only event log among `files` with all of its jobs and tasks."""
    tasks: list[TaskMetrics] = []
    jobs: list[JobMetrics] = []
    with layout.unpack(tuple(files)) as (members, damage):
        run = _read(layout.select_log(members), damage, tasks.append, jobs)
    return run, jobs, tasks


def _read(
    files: EventLogFiles,
    damage: list[str],
    on_task: OnTask | None = None,
    jobs: list[JobMetrics] | None = None,
) -> RunMetrics:
    log = layout.order_files(files)
    reader = _Reader(on_task)
    reader.cuts += damage
    for file in log.files:
        reader.read(file, last=file is log.files[-1])
    if not (reader.events or reader.cut_events or reader.has_codec) and reader.bad_lines:
        name = redact.text(log.files[0].name)
        raise UsageError(
            f"'{name}' is not a Spark event log: no line has an Event key",
            hint="Give the path of a file or folder in spark.eventLog.dir.",
        )
    if reader.replay.spark_version is None:
        reader.replay.spark_version = log.spark_version
    if jobs is not None:
        jobs += reader.replay.job_metrics.values()
    missing = tuple(f"{name} is missing" for name in log.missing)
    return reader.replay.metrics(
        bad_lines=reader.bad_lines,
        whole=not (missing or reader.cuts),
        notes=(*log.notes, *missing, *reader.cuts),
    )


class _Reader:
    """Decodes the lines of files and feeds them to one replay."""

    def __init__(self, on_task: OnTask | None) -> None:
        self.replay = Replay(on_task)
        self.events = 0
        self.bad_lines = 0
        self.cut_events = 0
        self.has_codec = False
        self.cuts: list[str] = []
        self._pieces: list[bytes] = []

    def read(self, file: EventLogFile, *, last: bool) -> None:
        """Feed the events of a file, up to where it is cut."""
        with file.open() as stream:
            try:
                decoded = codecs.DecodedStream(stream)
                self.has_codec = self.has_codec or decoded.codec in codecs.SPARK_CODECS
                for block in _join(decoded.blocks()):
                    self._split(block)
                self.cuts += [f"{file.name}: {text}" for text in decoded.damage]
                if decoded.unterminated and not last:
                    self.cuts.append(f"{file.name}: the end mark is missing")
            except codecs.CutError as error:
                self.cuts.append(f"{file.name}: {error}")
        # The rest of a cut line counts as a bad line, and its start identifies an event log.
        tail = b"".join(self._pieces)
        self.cut_events += bool(tail) and _EVENT.startswith(tail)
        self._feed([tail])
        self._pieces = []

    def _split(self, block: bytes) -> None:
        """Feed the lines of a block; keep an unfinished line for the next block."""
        # Much faster than bytes.split.
        lines = io.BytesIO(block).readlines()
        if not lines:
            return
        if lines[0].endswith(b"\n") and self._pieces:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces = []
        if not lines[-1].endswith(b"\n"):
            if sum(map(len, self._pieces)) > _MAX_LINE_BYTES:
                self._pieces = [b"a line that is too long"]
            self._pieces.append(lines.pop())
        self._feed(lines)

    def _feed(self, lines: list[bytes]) -> None:
        decode, handlers = self.replay.decode, self.replay.handlers
        others = 0
        for line in lines:
            try:
                event = decode(line)
            except _INVALID:
                others += 1
                self._feed_other(line)
            else:
                handlers[type(event)](event)
        self.events += len(lines) - others
        self.replay.flush(at_least=_BATCH)

    def _feed_other(self, line: bytes) -> None:
        """Feed a line that is an unknown event, invalid or not even JSON."""
        if not line or line.isspace():
            return
        event: Any
        try:
            event = msgspec.json.decode(line)
        except _INVALID:
            event = _decode_leniently(line)
        if isinstance(event, dict) and "Event" in event:
            self.events += 1
            self.replay.feed(event)
        else:
            self.bad_lines += 1
            self.cut_events += line.strip().startswith(_EVENT)


def _join(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Join small blocks; yield the blocks before a cut, then raise its error."""
    pieces: list[bytes] = []
    size = 0
    try:
        for block in blocks:
            pieces.append(block)
            size += len(block)
            if size >= _CHUNK_BYTES:
                yield b"".join(pieces) if len(pieces) > 1 else block
                pieces, size = [], 0
    except codecs.CutError:
        yield b"".join(pieces)
        raise
    if pieces:
        yield b"".join(pieces)


def _decode_leniently(line: bytes) -> Any:
    """Return the value of a line that is not strict JSON; None if it is no JSON at all.

    Old versions of Spark wrote the driver's charset; Jackson writes NaN and lone surrogates.
    """
    try:
        text = line.decode("utf-8", "replace")
        return json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None
