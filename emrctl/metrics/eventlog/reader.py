"""Spark's event log, read without Spark: one pass, block by block, whatever framing and layout.

A log that is cut, damaged or foreign in places is never an error: `bad_lines`, `complete` and
`notes` say so. Refused is only what holds no event at all and is in none of Spark's framings.
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
from emrctl.metrics.eventlog import archives, codecs, layout
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.eventlog.replay import Replay
from emrctl.metrics.model import RunMetrics, TaskMetrics

__all__ = ["EventLogFile", "read_folder", "read_log", "read_logs", "read_path"]

OnTask = Callable[[TaskMetrics], None]
# Decoded bytes that are split into lines at once: more than some of the framings' blocks hold.
_CHUNK_BYTES = 1 << 19
# A longer line is no event of Spark's, and must not fill the memory.
_LONGEST_LINE_BYTES = 256 << 20
# Tasks whose figures are added up at once.
_BATCH = 512
_EVENT = b'{"Event"'
_REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_path(path: Path) -> RunMetrics:
    """What the event log at `path`, a file, an archive or a folder, says the application did."""
    return read_log(layout.list_files(path))


def read_folder(folder: Path) -> tuple[RunMetrics, ...]:
    """Every event log in `folder`, each attempt for itself, by application id and attempt."""
    return read_logs(layout.list_files(folder))


def read_logs(
    parts: Iterable[EventLogFile],
    *,
    on_refused: Callable[[UsageError], None] | None = None,
) -> tuple[RunMetrics, ...]:
    """Every event log among `parts`, by application id and attempt.

    Files that are no event log go to `on_refused`; where nothing else is there, the first of them
    is raised.
    """
    found: list[RunMetrics] = []
    refused: list[UsageError] = []
    with archives.opened(parts) as unpacked:
        for log in layout.group_files(unpacked.parts):
            try:
                found.append(_read(log, unpacked.damage))
            except UsageError as error:
                refused.append(error)
    if not found:
        raise refused[0] if refused else layout.no_event_log()
    if on_refused is not None:
        for reason in refused:
            on_refused(reason)
    return tuple(sorted(found, key=lambda run: (run.app_id or "", _attempt(run))))


def _attempt(run: RunMetrics) -> tuple[int, str]:
    attempt = run.app_attempt or ""
    return (int(attempt) if attempt.isdecimal() else 0, attempt)


def read_log(parts: Iterable[EventLogFile], *, on_task: OnTask | None = None) -> RunMetrics:
    """The one log that is in `parts`, wherever they lie; they may come in any order.

    `on_task` is called with a row of each task as its end goes by.
    """
    with archives.opened(parts) as unpacked:
        return _read(layout.select_log(unpacked.parts), unpacked.damage, on_task)


def _read(
    parts: Iterable[EventLogFile], damage: tuple[str, ...], on_task: OnTask | None = None
) -> RunMetrics:
    files = layout.order_files(parts)
    reader = _Reader(on_task)
    reader.cuts += damage
    for part in files.parts:
        reader.read(part, last=part is files.parts[-1])
    if not (reader.events or reader.traces or reader.framed) and reader.bad_lines:
        raise UsageError(
            f"'{redact.text(files.parts[0].name)}' is no Spark event log: no line has an Event key",
            hint="Name the file or folder that Spark wrote to spark.eventLog.dir.",
        )
    if reader.replay.spark_version is None:
        reader.replay.spark_version = files.spark_version
    absent = tuple(f"{name} is missing" for name in files.missing)
    return reader.replay.metrics(
        bad_lines=reader.bad_lines,
        whole=not (absent or reader.cuts),
        notes=(*files.notes, *absent, *reader.cuts),
    )


class _Reader:
    """Lines of one part after another, parsed and fed to one replay."""

    def __init__(self, on_task: OnTask | None) -> None:
        self.replay = Replay(on_task)
        self.events = 0
        self.bad_lines = 0
        self.traces = 0
        self.framed = False
        self.cuts: list[str] = []
        self._pieces: list[bytes] = []

    def read(self, part: EventLogFile, *, last: bool) -> None:
        """Feed the part's events; where it is cut, what comes before the cut."""
        with part.open() as stream:
            try:
                decoded = codecs.Decoded(stream)
                self.framed = self.framed or decoded.codec in codecs.SPARKS
                for block in _joined(decoded.blocks()):
                    self._split(block)
                self.cuts += [f"{part.name}: {text}" for text in decoded.damage]
                if decoded.unended and not last:
                    self.cuts.append(f"{part.name}: its end mark is missing")
            except codecs.CutError as error:
                self.cuts.append(f"{part.name}: {error}")
        # What a cut leaves of a line is a line too: a bad one, unless it is whole.
        tail = b"".join(self._pieces)
        # A log that was cut in its first line is a log.
        self.traces += bool(tail) and _EVENT.startswith(tail)
        self._feed([tail])
        self._pieces = []

    def _split(self, block: bytes) -> None:
        """Feed the block's lines; what follows the last end of a line waits for the next block."""
        # Much faster than bytes.split, which looks at one byte after the other.
        lines = io.BytesIO(block).readlines()
        if not lines:
            return
        if lines[0].endswith(b"\n") and self._pieces:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces = []
        if not lines[-1].endswith(b"\n"):
            self._hold(lines.pop())
        self._feed(lines)

    def _hold(self, piece: bytes) -> None:
        if sum(map(len, self._pieces)) > _LONGEST_LINE_BYTES:
            self._pieces = [b"a line that is too long"]
        self._pieces.append(piece)

    def _feed(self, lines: list[bytes]) -> None:
        decode, typed = self.replay.decode, self.replay.typed
        others = 0
        for line in lines:
            try:
                event = decode(line)
            except _REFUSED:
                others += 1
                self._feed_other(line)
            else:
                typed[type(event)](event)
        self.events += len(lines) - others
        self.replay.flush(at_least=_BATCH)

    def _feed_other(self, line: bytes) -> None:
        """Take over a line of a rarer event, or of none."""
        event: Any
        try:
            event = msgspec.json.decode(line)
        except _REFUSED:
            event = _lenient(line)
        if isinstance(event, dict) and "Event" in event:
            self.events += 1
            self.replay.feed(event)
        elif text := line.strip():
            self.bad_lines += 1
            self.traces += text.startswith(_EVENT)


def _joined(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer blocks; what came before a cut comes out before it."""
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


def _lenient(line: bytes) -> Any:
    """The JSON value of a line that is strictly none; None where it is none at all.

    Older Sparks wrote in the driver's own charset, and Jackson writes NaN and lone surrogates.
    """
    try:
        found = json.loads(
            line.decode("utf-8", "replace"), parse_constant=_unknown, parse_float=_finite
        )
    except (ValueError, RecursionError):
        return None
    return found


def _unknown(_: str) -> None:
    """No figure is made of NaN or Infinity."""


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None
