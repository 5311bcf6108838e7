"""Which files make up one event log, and in which order.

Known are the single file, the rolling folder `eventlog_v2_*` with its `events_<n>_*` files, of
which one named `.compact` stands for all up to its own number, Databricks' parts
`eventlog-<date>.gz` with the plain `eventlog` last, and Spark 1.2's folder with `EVENT_LOG_1`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from emrctl.errors import NotFoundError, UsageError

_EVENTS = re.compile(r"events_(\d+)_.+")
_DATABRICKS = re.compile(r"eventlog(-\d{4}-\d\d-\d\d--\d\d-\d\d)?(\.\w+)?")
_OLD_EVENTS = re.compile(r"EVENT_LOG_(\d+)")
_OLD_VERSION = re.compile(r"SPARK_VERSION_(.+)")


@dataclass(frozen=True)
class Part:
    """One file of an event log: its name without folder, and what opens its bytes."""

    name: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class Layout:
    """An event log's parts in the order of their events.

    `spark_version` where the file names say it; `missing` names what is absent in between.
    """

    parts: tuple[Part, ...]
    spark_version: str | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def of_path(path: Path) -> tuple[Part, ...]:
    """The files at `path`: itself, or what lies in the folder that it is."""
    if not path.exists():
        raise NotFoundError(f"no event log at {path}")
    found = [path] if path.is_file() else sorted(item for item in path.iterdir() if item.is_file())
    return tuple(Part(item.name, functools.partial(_open, item)) for item in found)


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def ordered(parts: Iterable[Part]) -> Layout:
    """`parts` as one log; `UsageError` where they are several logs or none."""
    seen = [part for part in parts if not part.name.startswith((".", "_"))]
    rolling = [part for part in seen if _EVENTS.fullmatch(part.name)]
    old = [part for part in seen if _OLD_EVENTS.fullmatch(part.name)]
    dated = len(seen) > 1 and all(_DATABRICKS.fullmatch(part.name) for part in seen)
    if rolling:
        return _rolling(rolling)
    if old:
        return _old(old, seen)
    if not dated and (len(seen) != 1 or seen[0].name.startswith("appstatus_")):
        _refuse(seen)
    return Layout(tuple(sorted(seen, key=_databricks_key)))


def _rolling(parts: list[Part]) -> Layout:
    kept, note = parts, tuple[str, ...]()
    last_compact = max((_index(p) for p in parts if _is_compact(p)), default=None)
    if last_compact is not None:
        # Spark deletes what a compact file replaces only after it is whole, and not at once.
        kept = [p for p in parts if _stands_after(p, last_compact)]
        note = (f"events_{last_compact} is compacted: figures of finished jobs may be missing",)
    kept = sorted(kept, key=_index)
    first = 1 if last_compact is None else last_compact
    present = {_index(part) for part in kept}
    absent = [n for n in range(first, max(present) + 1) if n not in present]
    missing = tuple(f"events_{n}" for n in absent)
    return Layout(tuple(kept), missing=missing, notes=note)


def _stands_after(part: Part, compact: int) -> bool:
    index = _index(part)
    return index > compact or (index == compact and _is_compact(part))


def _index(part: Part) -> int:
    found = _EVENTS.fullmatch(part.name)
    return int(found[1]) if found else 0


def _is_compact(part: Part) -> bool:
    return part.name.endswith(".compact")


def _old(parts: list[Part], seen: list[Part]) -> Layout:
    version = next((found[1] for p in seen if (found := _OLD_VERSION.fullmatch(p.name))), None)
    numbered = sorted(parts, key=lambda part: int(part.name.rpartition("_")[2]))
    return Layout(tuple(numbered), spark_version=version)


def _databricks_key(part: Part) -> tuple[bool, str]:
    dated = part.name.startswith("eventlog-")
    return (not dated, part.name)


def _refuse(parts: list[Part]) -> NoReturn:
    if not parts or all(part.name.startswith("appstatus_") for part in parts):
        raise UsageError("there is no event log among the files", hint="Name a log or its folder.")
    names = ", ".join(part.name for part in parts[:4])
    raise UsageError(
        f"{len(parts)} files are not one event log: {names}",
        hint="Name one of them, or a folder eventlog_v2_*.",
    )


def logs_below(folder: Path) -> tuple[Path, ...]:
    """Every event log in `folder`: single files, and rolling folders as one log each, sorted."""
    found = []
    for item in sorted(folder.iterdir()):
        if item.name.startswith((".", "_")):
            continue
        if item.is_file() or is_log_folder(item):
            found.append(item)
    return tuple(found)


def is_log_folder(folder: Path) -> bool:
    """Whether the files in `folder` make up one log rather than one each."""
    names = [item.name for item in folder.iterdir() if item.is_file()]
    patterns = (_EVENTS, _OLD_EVENTS)
    rolled = any(pattern.fullmatch(name) for pattern in patterns for name in names)
    dated = any(name.startswith("eventlog-") for name in names)
    return rolled or (dated and all(_DATABRICKS.fullmatch(name) for name in names))
