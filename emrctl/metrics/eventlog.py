"""Spark's event log, read without Spark: one pass, line by line, whatever framing and layout.

A log that is cut, damaged or foreign in places is never an error: `bad_lines`, `complete` and
`notes` say so. Refused is only what holds no event at all and is in none of Spark's framings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from emrctl.errors import UsageError
from emrctl.metrics import codecs, layout
from emrctl.metrics.layout import Part
from emrctl.metrics.model import RunMetrics
from emrctl.metrics.replay import Replay

__all__ = ["Part", "read_folder", "read_parts", "read_path"]


def read_path(path: Path) -> RunMetrics:
    """What the event log at `path`, a file or a rolling folder, says the application did."""
    return read_parts(layout.of_path(path))


def read_folder(folder: Path) -> tuple[RunMetrics, ...]:
    """Every event log in `folder`, each attempt for itself, by application id and attempt."""
    found = [read_path(path) for path in layout.logs_below(folder)]
    return tuple(sorted(found, key=lambda run: (run.app_id or "", _attempt(run))))


def _attempt(run: RunMetrics) -> tuple[int, str]:
    attempt = run.app_attempt or ""
    return (int(attempt) if attempt.isdecimal() else 0, attempt)


def read_parts(parts: Iterable[Part]) -> RunMetrics:
    """The same from `parts` wherever they lie; they may come in any order."""
    files = layout.ordered(parts)
    reader = _Reader()
    for part in files.parts:
        reader.read(part)
    if not reader.events and reader.bad_lines and not reader.framed:
        raise UsageError(
            f"'{files.parts[0].name}' is no Spark event log: no line has an Event key",
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

    def __init__(self) -> None:
        self.replay = Replay()
        self.events = 0
        self.bad_lines = 0
        self.framed = False
        self.cuts: list[str] = []

    def read(self, part: Part) -> None:
        """Feed the part's events; where it is cut, what comes before the cut."""
        with part.open() as stream:
            try:
                for lines in self._lines(codecs.blocks(stream)):
                    self._feed(lines)
            except codecs.CutError as error:
                self.cuts.append(f"{part.name}: {error}")

    def _lines(self, blocks: Iterator[bytes]) -> Iterator[list[bytes]]:
        pieces: list[bytes] = []
        try:
            for block in blocks:
                lines = block.split(b"\n")
                if len(lines) > 1:
                    lines[0] = b"".join((*pieces, lines[0]))
                    pieces = [lines.pop()]
                    yield lines
                else:
                    pieces.append(block)
        finally:
            # What a cut leaves of a line is a line too: a bad one, unless it is whole.
            self._feed([b"".join(pieces)])

    def _feed(self, lines: list[bytes]) -> None:
        from orjson import JSONDecodeError, loads

        feed = self.replay.feed
        for line in lines:
            try:
                event = loads(line)
            except JSONDecodeError:
                event = _lenient(line)
            if isinstance(event, dict) and "Event" in event:
                self.events += 1
                feed(event)
            elif line.strip():
                self.bad_lines += 1


def _lenient(line: bytes) -> Any:
    """The JSON value of a line that orjson refuses; None where it is none.

    Older Sparks wrote in the driver's own charset, and Jackson writes NaN and lone surrogates.
    """
    try:
        return json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
