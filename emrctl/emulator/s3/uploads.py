"""Multipart uploads: their parts become an object's segments, which are not copied."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from emrctl.emulator.s3 import checksums
from emrctl.emulator.s3.blobs import Segment
from emrctl.emulator.s3.errors import S3Error, no_such_upload
from emrctl.emulator.s3.index import (
    Attributes,
    StoredObject,
    decode_attributes,
    encode_attributes,
    format_segments,
    parse_segments,
)
from emrctl.emulator.s3.store import Condition, ObjectStore, delete_upload

_MIN_PART_BYTES = 5 * 1024 * 1024
# More segments are joined to one file, so that reading an object opens few files.
_MAX_SEGMENTS = 64


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A multipart upload."""

    id: str
    bucket: str
    key: str
    initiated: float
    attributes: Attributes

    @property
    def algorithm(self) -> str:
        """The checksum algorithm, or an empty text."""
        return next(iter(self.attributes.checksums), "")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of an upload; `checksum` is of the upload's algorithm, or empty."""

    number: int
    etag: str
    size: int
    modified: float
    segments: tuple[Segment, ...]
    checksum: str = ""


class Uploads:
    """The multipart uploads of all buckets."""

    def __init__(self, store: ObjectStore) -> None:
        """Use the index and the content files of `store`."""
        self._store = store
        self._index = store.index
        self._lock = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def _changing(self, upload: Upload) -> threading.Lock:
        """Return the upload's lock.

        It is held while parts are read, joined and become an object, or are changed.
        """
        with self._lock:
            return self._locks.setdefault(upload.id, threading.Lock())

    def create(self, bucket: str, key: str, attributes: Attributes) -> Upload:
        """Create an upload of an object with these attributes."""
        upload = Upload(
            id=secrets.token_urlsafe(48),
            bucket=bucket,
            key=key,
            initiated=time.time(),
            attributes=attributes,
        )
        with self._index.writing() as connection:
            connection.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)",
                (upload.id, bucket, key.encode(), upload.initiated, encode_attributes(attributes)),
            )
        return upload

    def get(self, bucket: str, key: str, id_: str) -> Upload:
        """Return the upload; raises S3's error if there is none."""
        row = self._index.row(
            "SELECT id, bucket, key, initiated, attributes FROM uploads "
            "WHERE id = ? AND bucket = ? AND key = ?",
            id_,
            bucket,
            key.encode(),
        )
        if row is None:
            raise no_such_upload(id_)
        return _upload(row)

    def list(self, bucket: str, prefix: str) -> Sequence[Upload]:
        """Return the bucket's uploads with the prefix, by key and time."""
        rows = self._index.rows(
            "SELECT id, bucket, key, initiated, attributes FROM uploads WHERE bucket = ? "
            "ORDER BY key, initiated, id",
            bucket,
        )
        return [one for one in map(_upload, rows) if one.key.startswith(prefix)]

    def put_part(self, upload: Upload, part: Part) -> None:
        """Store a part; it replaces one with the same number."""
        try:
            with self._changing(upload), self._index.writing() as connection:
                # The upload may have been completed or aborted meanwhile.
                _check_exists(connection, upload)
                replaced = connection.execute(
                    "SELECT segments FROM parts WHERE upload = ? AND number = ?",
                    (upload.id, part.number),
                ).fetchall()
                connection.execute(
                    "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(upload.id, part.number, part.size, part.etag, part.modified),
                        *(format_segments(part.segments), part.checksum),
                    ),
                )
        except BaseException:
            self._store.blobs.delete(part.segments)
            raise
        for (segments,) in replaced:
            self._store.blobs.delete(parse_segments(segments))

    def parts(self, upload: Upload) -> Sequence[Part]:
        """Return the parts by number."""
        rows = self._index.rows(
            "SELECT number, etag, size, modified, segments, checksum FROM parts WHERE upload = ? "
            "ORDER BY number",
            upload.id,
        )
        return [
            Part(
                number=number,
                etag=etag,
                size=size,
                modified=modified,
                segments=parse_segments(segments),
                checksum=checksum,
            )
            for number, etag, size, modified, segments, checksum in rows
        ]

    def complete(
        self,
        upload: Upload,
        listed: Sequence[tuple[int, str]],
        versioning: str | None,
        condition: Condition | None,
    ) -> StoredObject:
        """Store the object of the listed parts (number, ETag); raises S3's errors."""
        with self._changing(upload):
            stored_parts = {part.number: part for part in self.parts(upload)}
            with self._index.reading() as connection:
                _check_exists(connection, upload)
            stored = _assembled(upload, _check_parts(stored_parts, listed))
            replaced = self._replace(upload, stored, versioning, condition)
        kept = {segment.id for segment in stored.segments}
        unused = [s for part in stored_parts.values() for s in part.segments if s.id not in kept]
        self._store.blobs.delete([*unused, *replaced])
        return stored

    def _replace(
        self,
        upload: Upload,
        stored: StoredObject,
        versioning: str | None,
        condition: Condition | None,
    ) -> Sequence[Segment]:
        """Store the object in place of the upload; return the segments that it replaces."""
        joined: list[Segment] = []
        if len(stored.segments) > _MAX_SEGMENTS:
            blocks = self._store.blobs.read(stored.segments, 0, stored.size)
            joined = [self._store.blobs.write(blocks)]
            stored.segments = tuple(joined)
        try:
            return self._store.replace_upload(
                upload.id, upload.bucket, stored, versioning, condition
            )
        except BaseException:
            self._store.blobs.delete(joined)
            raise

    def abort(self, upload: Upload) -> None:
        """Delete the upload and its parts; raises S3's error if it does not exist anymore."""
        with self._changing(upload), self._index.writing() as connection:
            parts = self.parts(upload)
            delete_upload(connection, upload.id)
        self._store.blobs.delete(segment for part in parts for segment in part.segments)


def _check_exists(connection: sqlite3.Connection, upload: Upload) -> None:
    if not connection.execute("SELECT 1 FROM uploads WHERE id = ?", (upload.id,)).fetchone():
        raise no_such_upload(upload.id)


def _upload(row: tuple[Any, ...]) -> Upload:
    id_, bucket, key, initiated, attributes = row
    return Upload(
        id=id_,
        bucket=bucket,
        key=key.decode(),
        initiated=initiated,
        attributes=decode_attributes(attributes),
    )


def _check_parts(stored: dict[int, Part], listed: Sequence[tuple[int, str]]) -> list[Part]:
    """Return the listed parts; raises S3's errors for missing, unordered and small parts."""
    numbers = [number for number, _ in listed]
    if numbers != sorted(set(numbers)):
        message = (
            "The list of parts was not in ascending order. The parts list must be specified in "
            "order by part number."
        )
        raise S3Error("InvalidPartOrder", message, 400)
    chosen = []
    for number, etag in listed:
        part = stored.get(number)
        if part is None or part.etag.strip('"') != etag.strip('"'):
            message = (
                "One or more of the specified parts could not be found. The part might not have "
                "been uploaded, or the specified entity tag might not have matched the part's "
                "entity tag."
            )
            raise S3Error("InvalidPart", message, 400, PartNumber=str(number))
        chosen.append(part)
    if any(part.size < _MIN_PART_BYTES for part in chosen[:-1]):
        message = "Your proposed upload is smaller than the minimum allowed object size."
        raise S3Error("EntityTooSmall", message, 400)
    return chosen


def _assembled(upload: Upload, parts: Sequence[Part]) -> StoredObject:
    """Return the object: its ETag is the MD5 of the parts' MD5s and their number."""
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        digest.update(bytes.fromhex(part.etag.strip('"')[:32]))
    attributes = upload.attributes
    attributes.parts = [part.size for part in parts]
    attributes.upload = upload.id
    if upload.algorithm:
        sizes = [(part.checksum, part.size) for part in parts]
        value = checksums.of_parts(upload.algorithm, attributes.checksum_type, sizes)
        attributes.checksums = {upload.algorithm: value} if value else {}
    return StoredObject(
        key=upload.key,
        size=sum(part.size for part in parts),
        etag=f'"{digest.hexdigest()}-{len(parts)}"',
        modified=time.time(),
        segments=tuple(segment for part in parts for segment in part.segments),
        attributes=attributes,
    )
