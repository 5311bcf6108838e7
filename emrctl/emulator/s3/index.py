"""The index of objects, uploads and bucket settings: one SQLite database with a write-ahead log.

A commit is what makes a change visible, so objects are never half-written. Commits survive the
death of the emulator (`synchronous=NORMAL`: the log is synced to disk at checkpoints only).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from emrctl.emulator.s3.blobs import Segment
from emrctl.errors import ProvisioningError

# `age` orders the versions of a key: the newest has the lowest number.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects(
  bucket TEXT, key BLOB, age INTEGER, version TEXT, latest INTEGER, marker INTEGER,
  size INTEGER, etag TEXT, modified REAL, segments TEXT, attributes BLOB,
  PRIMARY KEY (bucket, key, age)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads(
  id TEXT PRIMARY KEY, bucket TEXT, key BLOB, initiated REAL, attributes BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts(
  upload TEXT, number INTEGER, size INTEGER, etag TEXT, modified REAL, segments TEXT,
  checksum TEXT, PRIMARY KEY (upload, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings(
  position INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT, name TEXT, request BLOB,
  UNIQUE (bucket, name));
"""
_PRAGMAS = (
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA wal_autocheckpoint=2000",
    "PRAGMA cache_size=-32000",
)
COLUMNS = "key, age, version, latest, marker, size, etag, modified, segments, attributes"


class Attributes(msgspec.Struct, omit_defaults=True):
    """What an object has beside its content: headers and metadata by lower-case name, tags.

    `checksums` has values by algorithm, `parts` the sizes of a multipart upload's parts, `upload`
    its id, `acl` a canned ACL.
    """

    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    checksums: dict[str, str] = {}
    checksum_type: str = ""
    parts: list[int] = []
    upload: str = ""
    acl: str = ""


class StoredObject(msgspec.Struct):
    """A version of an object, or a delete marker."""

    key: str
    version: str = "null"
    size: int = 0
    etag: str = ""
    modified: float = 0.0
    segments: tuple[Segment, ...] = ()
    attributes: Attributes = msgspec.field(default_factory=Attributes)
    marker: bool = False
    latest: bool = True
    age: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Attributes).decode


def from_row(row: tuple[Any, ...]) -> StoredObject:
    """Return the object of a row of `COLUMNS`."""
    key, age, version, latest, marker, size, etag, modified, segments, attributes = row
    return StoredObject(
        key=key.decode(),
        version=version,
        size=size,
        etag=etag,
        modified=modified,
        segments=parse_segments(segments),
        attributes=_decode(attributes),
        marker=bool(marker),
        latest=bool(latest),
        age=age,
    )


def to_row(stored: StoredObject) -> tuple[Any, ...]:
    """Return the values of `COLUMNS`."""
    return (
        stored.key.encode(),
        stored.age,
        stored.version,
        stored.latest,
        stored.marker,
        stored.size,
        stored.etag,
        stored.modified,
        format_segments(stored.segments),
        encode_attributes(stored.attributes),
    )


def encode_attributes(attributes: Attributes) -> bytes:
    """Return the attributes as JSON."""
    return _encode(attributes)


def decode_attributes(text: bytes) -> Attributes:
    """Return the attributes of a row."""
    return _decode(text)


def format_segments(segments: tuple[Segment, ...]) -> str:
    """Return segments as one text, `id:size` separated by spaces."""
    return " ".join(f"{one.id}:{one.size}" for one in segments)


def parse_segments(text: str) -> tuple[Segment, ...]:
    """Return the segments of a row."""
    pairs = (one.partition(":") for one in text.split())
    return tuple(Segment(id_, int(size)) for id_, _, size in pairs)


class Index:
    """The database. One connection serves all threads, one at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the database; raises `ProvisioningError` if the file is none."""
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                self._connection.execute(pragma)
            self._connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            if isinstance(error, sqlite3.OperationalError):  # locked, disk full
                raise
            hint = "`emrctl local down --delete` deletes all buckets of the EMR on localhost."
            raise ProvisioningError(f"{path} is damaged: {error}.", hint=hint) from error
        path.chmod(0o600)

    def close(self) -> None:
        """Write the log into the database and close it."""
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        with self._lock:
            row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
            return row

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for several queries; others wait."""
        with self._lock:
            yield self._connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection within a transaction; roll back if the block raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back already after some errors, such as a full disk.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
