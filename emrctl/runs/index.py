"""An index of the records of a local store, as reading each file takes long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import msgspec

from emrctl.paths import write_atomically
from emrctl.runs.commits import Commit
from emrctl.runs.record import ClusterFacts, Run, TrialFacts
from emrctl.runs.storage import Version


class RunIndex:
    """The records of finished runs in one file.

    A record is valid while its run's folder has the same version. Several clients may write the
    index at the same time; each of them writes a whole one. It can be deleted at any time.
    """

    FILE: ClassVar = "index.msgpack"
    # A folder may change again within the resolution of its modification time.
    SETTLED_S: ClassVar = 2.0
    # Records that are read one by one before the file is written again.
    SLACK: ClassVar = 32

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self, versions: Mapping[str, Version], read: Callable[[str], Run | None]) -> list[Run]:
        """Return the runs of the folders in `versions`, oldest first.

        `read` returns the run of a folder that the index does not have in its current version.
        """
        entries, runs = self.load(), list[Run]()
        settled_ns = time.time_ns() - int(self.SETTLED_S * 1e9)
        changes = 0
        for name in sorted(versions):
            entry = entries.get(name)
            if entry is not None and entry[0] == versions[name].text:
                runs.append(entry[1])
                continue
            run = read(name)
            if run is not None:
                runs.append(run)
                if run.finished and versions[name].changed_ns < settled_ns:
                    entries[name] = (versions[name].text, run)
                    changes += 1
        if changes > self.SLACK:
            self._save({name: entry for name, entry in entries.items() if name in versions})
        return runs

    def load(self) -> dict[str, tuple[str, Run]]:
        """Return the version of the folder and the run by id; {} if the file cannot be used."""
        try:
            names, entries = msgspec.msgpack.decode(self._path.read_bytes(), type=_Index)
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            return {}
        return entries if names == _FIELDS else {}

    def _save(self, entries: Mapping[str, tuple[str, Run]]) -> None:
        with suppress(OSError):  # a store that cannot be written can be read
            body = msgspec.msgpack.encode((_FIELDS, entries))
            write_atomically(self._path, body, 0o600)


_Index = tuple[str, dict[str, tuple[str, Run]]]
_MODELS = (Run, ClusterFacts, TrialFacts, Commit)
# An index of another version of emrctl is not used.
_FIELDS = "2 " + " ".join(item.name for model in _MODELS for item in fields(model))
