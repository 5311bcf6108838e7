"""Records and files of runs, and the store that holds all runs of a project.

The record of a finished run is immutable; tags that are added later are a file of their own.
"""

from __future__ import annotations

import functools
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import msgspec

from emrctl.errors import NotFoundError
from emrctl.paths import write_atomically
from emrctl.runs.commits import Commit
from emrctl.runs.record import ClusterFacts, Run, TrialFacts
from emrctl.runs.storage import FileStorage, LocalStorage

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFile


@dataclass(frozen=True)
class RunFiles:
    """The files of one run; no other code knows their names."""

    storage: FileStorage
    run_id: str

    RECORD: ClassVar = "run.json"
    TAGS: ClassVar = "tags.json"
    METRICS: ClassVar = "metrics.json"
    # Metrics of further applications of the step by their ids.
    APPLICATIONS: ClassVar = "applications.json"
    # Written by the job to its output, and copied to the store.
    RESULT: ClassVar = "result.json"
    YARN: ClassVar = "yarn.json"
    INSTANCES: ClassVar = "instances.json"
    CLOUDWATCH: ClassVar = "cloudwatch.json"
    NODE_SAMPLES: ClassVar = "nodes.jsonl"
    # Folders.
    LOGS: ClassVar = "logs/"
    EVENT_LOG: ClassVar = "eventlog/"

    def read(self, name: str, folder: str = "") -> bytes | None:
        """Return the content of a file, None if it does not exist."""
        return self.storage.read(f"{self.run_id}/{folder}{name}")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON object, None if the file does not exist or is damaged."""
        body = self.read(name)
        try:
            document = None if body is None else json.loads(body)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    def write(self, name: str, body: bytes | BinaryIO, folder: str = "") -> None:
        """Write a file."""
        self.storage.write(f"{self.run_id}/{folder}{name}", body)

    def delete(self, name: str, folder: str = "") -> None:
        """Delete a file if it exists."""
        self.storage.delete(f"{self.run_id}/{folder}{name}")

    def write_json(
        self, name: str, document: Mapping[str, Any], *, indent: int | None = None
    ) -> None:
        """Write a JSON object."""
        text = json.dumps(document, indent=indent, ensure_ascii=False)
        self.write(name, text.encode(errors="replace"))

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted."""
        prefix = f"{self.run_id}/{folder}"
        return [key.removeprefix(prefix) for key in self.storage.keys(prefix)]

    def event_log(self) -> tuple[EventLogFile, ...]:
        """Return the run's event log; raises `NotFoundError` if there is none."""
        from emrctl.metrics.eventlog.layout import EventLogFile

        names = self.names(self.EVENT_LOG)
        if not names:
            raise NotFoundError(
                f"run {self.run_id} has no event log in the store",
                hint=f"Download it again with `emrctl pull {self.run_id}`.",
            )

        def open_file(name: str) -> BinaryIO:
            return io.BytesIO(self.read(name, self.EVENT_LOG) or b"")

        return tuple(EventLogFile(name, functools.partial(open_file, name)) for name in names)

    def location(self, name: str = "", folder: str = "") -> str:
        """Return the path or URI of a file, by default of the run's folder."""
        return self.storage.location(f"{self.run_id}/{folder}{name}".rstrip("/"))


@dataclass(frozen=True)
class Store:
    """All runs of a project."""

    storage: FileStorage

    def files(self, run_id: str) -> RunFiles:
        """Return the files of a run."""
        return RunFiles(self.storage, run_id)

    def save(self, run: Run) -> None:
        """Write the record of a run; records of finished runs are not changed."""
        stored = self._read(run.id)
        if stored is None or not stored.finished:
            self.files(run.id).write_json(RunFiles.RECORD, asdict(run), indent=1)

    def load(self, run_id: str) -> Run:
        """Return the run with this id or the only one whose id contains `run_id`.

        `latest` is the newest run. Raises `NotFoundError` if there is none, or more than one.
        """
        run = self._read(run_id) or (next(self.newest(), None) if run_id == "latest" else None)
        if run is not None:
            return run
        ids = self.ids()
        matches = [item for item in ids if run_id and run_id in item]
        if len(matches) == 1:
            run = self._read(matches[0])
            if run is not None:
                return run
        if len(matches) > 1:
            hint = f"Specify one of {', '.join(matches[-5:])}"
            raise NotFoundError(f"'{run_id}' matches {len(matches)} runs", hint=hint)
        hint = f"The newest are {', '.join(ids[-5:])}" if ids else "Start one with `emrctl submit`."
        raise NotFoundError(f"no run is called '{run_id}'", hint=hint)

    def all(self) -> list[Run]:
        """Return all runs, oldest first; damaged records are skipped."""
        if isinstance(self.storage, LocalStorage):
            return RunIndex(self.storage.path / RunIndex.FILE).all(self.storage.times(), self._read)
        return [run for run in self.storage.in_parallel(self._read, self.ids()) if run is not None]

    def newest(self) -> Iterator[Run]:
        """Yield all runs, newest first; only those that are used are read."""
        ids = self.storage.folders()[::-1]
        for start in range(0, len(ids), _CHUNK):
            runs = self.storage.in_parallel(self._read, ids[start : start + _CHUNK])
            yield from (run for run in runs if run is not None)

    def ids(self) -> list[str]:
        """Return the ids of all runs, oldest first; on S3 also those without a record."""
        return self.storage.folders(RunFiles.RECORD)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> Run:
        """Add tags to a run and return it; an empty value removes a tag."""
        run = self.load(run_id)
        merged = {key: value for key, value in {**run.tags, **tags}.items() if value}
        self.files(run.id).write_json(RunFiles.TAGS, merged, indent=1)
        return replace(run, tags=merged)

    def _read(self, run_id: str) -> Run | None:
        """Return a run, None if it does not exist or its record is damaged."""
        files = self.files(run_id)
        body = files.read(RunFiles.RECORD) if run_id else None
        if body is None:
            return None
        try:
            run = msgspec.json.decode(body, type=Run)
        except msgspec.DecodeError:
            return None
        tags = files.read_json(RunFiles.TAGS)
        return run if tags is None else replace(run, tags=tags)


class RunIndex:
    """The records of finished runs of a local store in one file, as reading each takes long.

    A record is valid while its run's folder has the same modification time: every change of a
    record or of tags replaces a file in the folder. Several clients may write the index at the same
    time; each of them writes a whole one.
    """

    FILE: ClassVar = "index.msgpack"
    # A folder may change again within the resolution of its modification time.
    SETTLED_S: ClassVar = 2.0
    # Records that are read one by one before the file is written again.
    SLACK: ClassVar = 32

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self, times: Mapping[str, int], read: Callable[[str], Run | None]) -> list[Run]:
        """Return the runs of the folders in `times` (name: modification time in ns), oldest first.

        `read` returns the run of a folder that the index does not have in its current state.
        """
        entries, runs = self._load(), list[Run]()
        settled_ns = time.time_ns() - int(self.SETTLED_S * 1e9)
        changes = 0
        for name in sorted(times):
            entry = entries.get(name)
            if entry is not None and entry[0] == times[name]:
                runs.append(entry[1])
                continue
            run = read(name)
            if run is not None:
                runs.append(run)
                if run.finished and times[name] < settled_ns:
                    entries[name] = (times[name], run)
                    changes += 1
        if changes > self.SLACK:
            self._save({name: entry for name, entry in entries.items() if name in times})
        return runs

    def _load(self) -> dict[str, tuple[int, Run]]:
        try:
            names, entries = msgspec.msgpack.decode(self._path.read_bytes(), type=_Index)
        except (OSError, msgspec.DecodeError):
            return {}
        return entries if names == _FIELDS else {}

    def _save(self, entries: Mapping[str, tuple[int, Run]]) -> None:
        with suppress(OSError):  # a store that cannot be written can be read
            body = msgspec.msgpack.encode((_FIELDS, entries))
            write_atomically(self._path, body, 0o600)


_Index = tuple[str, dict[str, tuple[int, Run]]]
_MODELS = (Run, ClusterFacts, TrialFacts, Commit)
# An index of another version of emrctl is not used.
_FIELDS = " ".join(item.name for model in _MODELS for item in fields(model))
_CHUNK = 32
