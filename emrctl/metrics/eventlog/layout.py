"""Which files make up one event log, and in which order.

Known are the single file, the rolling folder `eventlog_v2_*` with its `events_<n>_*` files, of
which one named `.compact` stands for all up to its own number, Databricks' parts
`eventlog-<date>.gz` with the plain `eventlog` last, and Spark 1.2's folder with `EVENT_LOG_1`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from emrctl import redact
from emrctl.errors import NotFoundError, UsageError

_EVENTS = re.compile(r"events_(\d+)_(.+)")
_DATABRICKS = re.compile(r"eventlog(-\d{4}-\d\d-\d\d--\d\d-\d\d)?(\.\w+)?")
_OLD_EVENTS = re.compile(r"EVENT_LOG_(\d+)")
_OLD_VERSION = re.compile(r"SPARK_VERSION_(.+)")
# What may follow an application's name: the framing, and what Spark does with the file.
_ENDINGS = re.compile(r"(\.(zstd?|lz4|lzf|snappy|gz|compact|inprogress))+$")
# Of these the events are elsewhere, or not yet whole.
_STATUS = "appstatus_"
_ASIDE = re.compile(r"[._].*|appstatus_.*|APPLICATION_COMPLETE|.*\.compact\.inprogress")


@dataclass(frozen=True)
class EventLogFile:
    """One file of an event log: its name, with the folders above it, and what opens its bytes."""

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]

    @property
    def folder(self) -> str:
        """The folders above it; empty where there are none."""
        return self.name.rpartition("/")[0]

    @property
    def base(self) -> str:
        """Its name without them."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class LogLayout:
    """An event log's parts in the order of their events.

    `spark_version` where the file names say it; `missing` names what is absent in between.
    """

    parts: tuple[EventLogFile, ...]
    spark_version: str | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def list_files(path: Path) -> tuple[EventLogFile, ...]:
    """The files at `path`: itself, or all that lie in the folder that it is."""
    if not path.exists():
        raise NotFoundError(f"no event log at {redact.text(str(path))}")
    if not path.is_dir():
        return (EventLogFile(path.name, functools.partial(_open, path)),)
    found = sorted(item for item in path.rglob("*") if item.is_file())
    return tuple(
        EventLogFile(item.relative_to(path).as_posix(), functools.partial(_open, item))
        for item in found
    )


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def group_files(parts: Iterable[EventLogFile]) -> tuple[tuple[EventLogFile, ...], ...]:
    """`parts` as the event logs that they are, in the order of their names.

    Several attempts of one application are several logs, also where their files lie together.
    """
    folders: dict[str, list[EventLogFile]] = {}
    for part in parts:
        folders.setdefault(part.folder, []).append(part)
    return tuple(log for name in sorted(folders) for log in _of_folder(folders[name]))


def _of_folder(parts: list[EventLogFile]) -> list[tuple[EventLogFile, ...]]:
    rolling: dict[str, list[EventLogFile]] = {}
    dated, old, single, status = [], [], [], []
    version = any(_OLD_EVENTS.fullmatch(part.base) for part in parts)
    for part in parts:
        if found := _EVENTS.fullmatch(part.base):
            if not _ASIDE.fullmatch(part.base):
                rolling.setdefault(_ENDINGS.sub("", found[2]), []).append(part)
        elif _OLD_EVENTS.fullmatch(part.base) or (version and _OLD_VERSION.fullmatch(part.base)):
            old.append(part)
        elif _ASIDE.fullmatch(part.base):
            status += [part] if part.base.startswith(_STATUS) else []
        elif _DATABRICKS.fullmatch(part.base):
            dated.append(part)
        else:
            single.append(part)
    # A rolling folder whose event files are all gone is a log that was cut to nothing.
    empty = [] if rolling else status
    together = [tuple(group) for group in (*rolling.values(), dated, old, empty) if group]
    return together + [(part,) for part in single]


def select_log(parts: Iterable[EventLogFile]) -> tuple[EventLogFile, ...]:
    """The parts of the one log among `parts`; `UsageError` where they are several or none."""
    found = group_files(parts)
    if len(found) == 1:
        return found[0]
    raise _several(found) if found else no_event_log()


def no_event_log() -> UsageError:
    """That there is no event log."""
    return UsageError("there is no event log among the files", hint="Name a log or its folder.")


def _several(found: tuple[tuple[EventLogFile, ...], ...]) -> UsageError:
    names = ", ".join(redact.text(log[0].name) for log in found[:4])
    return UsageError(
        f"{len(found)} event logs are here, not one: {names}", hint="Name one of them."
    )


def order_files(parts: Iterable[EventLogFile]) -> LogLayout:
    """The parts of one log in the order of their events."""
    seen = list(parts)
    if all(part.base.startswith(_STATUS) for part in seen):
        return LogLayout((), missing=("every file of events",))
    if all(_EVENTS.fullmatch(part.base) for part in seen):
        return _rolling(seen)
    if any(_OLD_EVENTS.fullmatch(part.base) for part in seen):
        return _old(seen)
    return LogLayout(tuple(sorted(seen, key=_databricks_key)))


def _rolling(parts: list[EventLogFile]) -> LogLayout:
    kept, note = parts, tuple[str, ...]()
    last_compact = max((_index(p) for p in parts if _is_compact(p)), default=None)
    if last_compact is not None:
        # Spark deletes what a compact file replaces only after it is whole, and not at once.
        kept = [p for p in parts if _stands_after(p, last_compact)]
        note = (f"events_{last_compact} is compacted: figures of finished jobs may be missing",)
    kept = sorted(kept, key=_index)
    first = 1 if last_compact is None else last_compact
    present = {_index(part) for part in kept}
    # A number that is damage must not be counted up to.
    absent = [n for n in range(first, max(present) + 1)[: len(kept) + 100] if n not in present]
    missing = tuple(f"events_{n}" for n in absent)
    return LogLayout(tuple(kept), missing=missing, notes=note)


def _stands_after(part: EventLogFile, compact: int) -> bool:
    index = _index(part)
    return index > compact or (index == compact and _is_compact(part))


def _index(part: EventLogFile) -> int:
    found = _EVENTS.fullmatch(part.base)
    return int(found[1]) if found else 0


def _is_compact(part: EventLogFile) -> bool:
    return part.base.endswith(".compact")


def _old(parts: list[EventLogFile]) -> LogLayout:
    version = next((found[1] for p in parts if (found := _OLD_VERSION.fullmatch(p.base))), None)
    events = [part for part in parts if _OLD_EVENTS.fullmatch(part.base)]
    numbered = sorted(events, key=lambda part: int(part.base.rpartition("_")[2]))
    return LogLayout(tuple(numbered), spark_version=version)


def _databricks_key(part: EventLogFile) -> tuple[bool, str]:
    dated = part.base.startswith("eventlog-")
    return (not dated, part.base)
