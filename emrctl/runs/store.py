"""Files of runs, and the store that holds all runs of a project.

The record of a finished run is immutable once its state was observed; tags that are added later are
a file of their own. A file that is damaged, or of a newer emrctl, concerns its own run only: it is
reported once, and everything else is read.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar

from emrctl.errors import DamagedFileError, EmrctlError, NotFoundError
from emrctl.runs import documents, record
from emrctl.runs.index import RunIndex
from emrctl.runs.record import Run
from emrctl.runs.storage import FileStorage, LocalStorage, is_name

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFile

T = TypeVar("T")


class DamagedFiles:
    """The files that could not be read so far; each is reported once.

    `records` are those of runs by their ids.
    """

    # Of a store in which no file can be read, not every one is named.
    MAX_REPORTED = 20

    def __init__(self) -> None:
        self.records: dict[str, DamagedFileError] = {}
        self._errors: dict[str, DamagedFileError] = {}

    def add(self, error: DamagedFileError) -> None:
        """Add a file and report it with Python's logging, unless it is known."""
        if self._errors.setdefault(error.location, error) is not error:
            return
        import logging

        logger, count = logging.getLogger("emrctl"), len(self._errors)
        if count <= self.MAX_REPORTED:
            logger.warning("warning: %s", error)
        elif count == self.MAX_REPORTED + 1:
            logger.warning("warning: more files cannot be read. %s", error.hint)

    def __iter__(self) -> Iterator[DamagedFileError]:
        """Yield the errors in the order in which they were found."""
        return iter(list(self._errors.values()))


@dataclass(frozen=True)
class RunFiles:
    """The files of one run; no other code knows their names."""

    storage: FileStorage
    run_id: str
    damaged: DamagedFiles

    RECORD: ClassVar = "run.json"
    TAGS: ClassVar = "tags.json"
    METRICS: ClassVar = "metrics.json"
    # Metrics of further applications of the step by their ids.
    APPLICATIONS: ClassVar = "applications.json"
    # Written by the job to its output, and copied to the store.
    RESULT: ClassVar = "result.json"
    # Rows and checksums of the outputs that `--check-output` names.
    CHECK: ClassVar = "check.json"
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

    def find(self, name: str) -> bytes | None:
        """Return the content of a file; None, and reported, if it cannot be read.

        Also None if the file does not exist.
        """
        try:
            return self.read(name)
        except DamagedFileError as error:
            self.damaged.add(error)
            return None

    def load(self, name: str, type_: type[T]) -> T | None:
        """Return a JSON document of a type; None, and reported, if the file is damaged.

        Also None if the file does not exist.
        """
        return self._parse(name, lambda body: documents.decode(body, type_))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON object as another program wrote it; None, and reported, if damaged.

        Also None if the file does not exist or is another JSON document.
        """
        document = self._parse(name, documents.decode_any)
        return document if isinstance(document, dict) else None

    def parse(self, name: str, parse: Callable[[bytes], T]) -> T | None:
        """Return what `parse` makes of a file, None if it does not exist.

        Raises `DamagedFileError`, also if `parse` raises `ValueError`.
        """
        body = self.read(name)
        try:
            return None if body is None else parse(body)
        except ValueError as error:
            newer = isinstance(error, record.NewerSchemaError)
            raise DamagedFileError(self.location(name), str(error), newer=newer) from error

    def _parse(self, name: str, parse: Callable[[bytes], T]) -> T | None:
        try:
            return self.parse(name, parse)
        except DamagedFileError as error:
            self.damaged.add(error)
            return None

    def read_record(self) -> Run | None:
        """Return the run, None if it has no record; raises `DamagedFileError`."""
        return self.parse(self.RECORD, lambda body: record.decode(body, self.run_id))

    def set_aside(self, name: str) -> str:
        """Rename a damaged file, which keeps its content, and return the new name."""
        names = set(self.storage.names(self.run_id))
        suffixes = itertools.chain((".damaged",), (f".damaged-{n}" for n in itertools.count(2)))
        new = next(name + suffix for suffix in suffixes if name + suffix not in names)
        self.storage.move(f"{self.run_id}/{name}", f"{self.run_id}/{new}")
        return new

    def write(self, name: str, body: bytes | BinaryIO, folder: str = "") -> None:
        """Write a file; a folder in its place is renamed."""
        key = f"{self.run_id}/{folder}{name}"
        try:
            self.storage.write(key, body)
        except EmrctlError as error:
            if folder or not isinstance(error.__cause__, IsADirectoryError):
                raise
            self.set_aside(name)
            if not isinstance(body, bytes):
                body.seek(0)
            self.storage.write(key, body)

    def delete(self, name: str, folder: str = "") -> None:
        """Delete a file if it exists."""
        self.storage.delete(f"{self.run_id}/{folder}{name}")

    def write_json(
        self, name: str, document: Mapping[str, Any], *, indent: int | None = None
    ) -> None:
        """Write a JSON object; numbers that are not finite become null."""
        try:
            text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
        except ValueError:
            finite = documents.decode_any(json.dumps(document).encode())
            text = json.dumps(finite, indent=indent, ensure_ascii=False)
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
    """All runs of a project; `damaged` are the files that could not be read so far."""

    storage: FileStorage
    damaged: DamagedFiles = field(default_factory=DamagedFiles, compare=False, repr=False)

    def files(self, run_id: str) -> RunFiles:
        """Return the files of a run."""
        return RunFiles(self.storage, run_id, self.damaged)

    def save(self, run: Run) -> None:
        """Write the record of a run, unless its stored state is final and was observed.

        Unknown keys of the stored record are kept. A damaged record is renamed; raises
        `DamagedFileError` if a newer emrctl wrote it or it cannot be read.
        """
        files, stored = self.files(run.id), None
        try:
            found = files.parse(RunFiles.RECORD, lambda body: (body, record.decode(body, run.id)))
            if found is not None:
                stored, earlier = found
                if earlier.settled:
                    return
        except DamagedFileError as error:
            if error.newer or not error.damaged:
                raise
            files.set_aside(RunFiles.RECORD)
        files.write_json(RunFiles.RECORD, record.encode(run, stored), indent=1)

    def load(self, run_id: str) -> Run:
        """Return the run with this id or the only one whose id contains `run_id`.

        `latest` is the newest run. Raises `NotFoundError` if there is none, or more than one, and
        `DamagedFileError` if its record cannot be read.
        """
        run = self._load(run_id) or (next(self.newest(), None) if run_id == "latest" else None)
        if run is not None:
            return run
        ids = self.ids()
        matches = [item for item in ids if run_id and run_id in item]
        if len(matches) == 1:
            run = self._load(matches[0])
            if run is not None:
                return run
        if len(matches) > 1:
            hint = f"Specify one of {', '.join(matches[-5:])}"
            raise NotFoundError(f"'{run_id[:80]}' matches {len(matches)} runs", hint=hint)
        hint = f"The newest are {', '.join(ids[-5:])}" if ids else "Start one with `emrctl submit`."
        raise NotFoundError(f"no run is called {run_id[:80]!r}", hint=hint)

    def all(self) -> list[Run]:
        """Return all runs, oldest first; damaged records are reported and left out."""
        if isinstance(self.storage, LocalStorage):
            index = RunIndex(self.storage.path / RunIndex.FILE)
            return index.all(self.storage.versions(RunFiles.RECORD), self.find)
        return [run for run in self.storage.in_parallel(self.find, self.ids()) if run is not None]

    def newest(self) -> Iterator[Run]:
        """Yield all runs, newest first; only those that are used are read."""
        ids = self.storage.folders()[::-1]
        for start in range(0, len(ids), _CHUNK):
            runs = self.storage.in_parallel(self.find, ids[start : start + _CHUNK])
            yield from (run for run in runs if run is not None)

    def ids(self) -> list[str]:
        """Return the ids of all runs, oldest first; on S3 also those without a record."""
        return self.storage.folders(RunFiles.RECORD)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> Run:
        """Add tags to a run and return it; an empty value removes a tag.

        Raises `DamagedFileError` if the stored tags cannot be read: they are not replaced.
        """
        run = self.load(run_id)
        files = self.files(run.id)
        files.parse(RunFiles.TAGS, lambda body: documents.decode(body, dict[str, str]))
        merged = {key: value for key, value in {**run.tags, **tags}.items() if value}
        files.write_json(RunFiles.TAGS, merged, indent=1)
        return replace(run, tags=merged)

    def find(self, run_id: str) -> Run | None:
        """Return a run; None if it does not exist, or if its record is damaged: it is reported."""
        try:
            return self._load(run_id)
        except DamagedFileError as error:
            self.damaged.records[run_id] = error
            self.damaged.add(error)
            return None

    def _load(self, run_id: str) -> Run | None:
        """Return a run, None if it does not exist; raises `DamagedFileError`."""
        if not is_name(run_id):
            return None
        files = self.files(run_id)
        run = files.read_record()
        tags = None if run is None else files.load(RunFiles.TAGS, dict[str, str])
        return run if run is None or tags is None else replace(run, tags=tags)


_CHUNK = 32
