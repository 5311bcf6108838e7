"""The objects of all buckets, with versions: index and content files."""

from __future__ import annotations

import logging
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from emrctl.emulator.s3.blobs import BlobFolder, Segment
from emrctl.emulator.s3.errors import no_such_upload
from emrctl.emulator.s3.index import (
    COLUMNS,
    Index,
    StoredObject,
    encode_attributes,
    from_row,
    parse_segments,
    to_row,
)

_log = logging.getLogger(__name__)

ENABLED, SUSPENDED = "Enabled", "Suspended"
NULL_VERSION = "null"
# Tables with content files, and their keys.
_WITH_CONTENT = {"objects": ("bucket", "key", "age"), "parts": ("upload", "number")}
# Raises S3's error if the object that a request would replace does not meet its conditions.
Condition = Callable[[StoredObject | None], None]


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """The result of a deletion: the version that was deleted or created, if any."""

    version: str | None = None
    marker: bool = False


@dataclass(frozen=True, kw_only=True)
class ListQuery:
    """A page of a bucket's keys: those after `after`.

    With `versions` also versions and delete markers, from those of the key `after` that are older
    than `after_version`.
    """

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    limit: int = 1000
    after: str = ""
    versions: bool = False
    after_version: str = ""


@dataclass(kw_only=True)
class KeyPage:
    """Objects and common prefixes; `last` is the last key or prefix of them."""

    objects: list[StoredObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    last: str = ""
    truncated: bool = False

    @property
    def count(self) -> int:
        """The number of objects and prefixes."""
        return len(self.objects) + len(self.prefixes)


def _new_version(age: int) -> str:
    """Return a random version id that contains the version's age, for `_age`."""
    return f"{-age:x}.{secrets.token_urlsafe(12)}"


def _age(version: str, rows: list[StoredObject]) -> int | None:
    """Return the age of a version, which may be deleted; None if it is unknown."""
    listed = next((stored.age for stored in rows if stored.version == version), None)
    if listed is None and re.fullmatch(r"[0-9a-f]{1,16}\.[\w-]+", version):
        return -int(version.partition(".")[0], 16)
    return listed


class ObjectStore:
    """Objects in `root`: `index.sqlite` and `blobs/`."""

    def __init__(self, root: Path) -> None:
        """Open the store, or create it; delete what an interrupted request has left."""
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.index = Index(root / "index.sqlite")
        self.blobs = BlobFolder(root / "blobs")
        self._recover()

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def get(self, bucket: str, key: str, version: str | None = None) -> StoredObject | None:
        """Return the newest version or the named one, which may be a delete marker, or None."""
        where, values = ("latest", ()) if version is None else ("version = ?", (version,))
        row = self.index.row(
            f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND key = ? AND {where}",  # noqa: S608
            bucket,
            key.encode(),
            *values,
        )
        return None if row is None else from_row(row)

    def put(
        self,
        bucket: str,
        stored: StoredObject,
        versioning: str | None = None,
        condition: Condition | None = None,
    ) -> StoredObject:
        """Store a version; its content files are deleted if that fails."""
        try:
            with self.index.writing() as connection:
                replaced = self._insert(connection, bucket, stored, versioning, condition)
        except BaseException:
            self.blobs.delete(stored.segments)
            raise
        self.blobs.delete(replaced)
        return stored

    def replace_upload(
        self,
        upload: str,
        bucket: str,
        stored: StoredObject,
        versioning: str | None,
        condition: Condition | None,
    ) -> list[Segment]:
        """Store the object of a completed upload; return the segments that it replaces."""
        with self.index.writing() as connection:
            delete_upload(connection, upload)
            return self._insert(connection, bucket, stored, versioning, condition)

    def _insert(
        self,
        connection: sqlite3.Connection,
        bucket: str,
        stored: StoredObject,
        versioning: str | None,
        condition: Condition | None,
    ) -> list[Segment]:
        """Insert the newest version of a key; return the segments that it replaces."""
        rows = _versions(connection, bucket, stored.key)
        stored.age = min(-time.time_ns(), rows[0].age - 1) if rows else -time.time_ns()
        stored.version = _new_version(stored.age) if versioning == ENABLED else NULL_VERSION
        if condition is not None:
            latest = rows[0] if rows and not rows[0].marker else None
            condition(latest)
        replaced: list[Segment] = []
        for old in rows:
            if old.version == stored.version:
                _remove(connection, bucket, old)
                replaced += old.segments
        if rows:
            connection.execute(
                "UPDATE objects SET latest = 0 WHERE bucket = ? AND key = ? AND latest",
                (bucket, stored.key.encode()),
            )
        connection.execute(
            f"INSERT INTO objects(bucket, {COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
            (bucket, *to_row(stored)),
        )
        return replaced

    def delete(
        self,
        bucket: str,
        key: str,
        version: str | None = None,
        *,
        versioning: str | None = None,
        condition: Condition | None = None,
    ) -> Deletion:
        """Delete an object or a version; in a versioned bucket, insert a delete marker."""
        removed: list[Segment] = []
        with self.index.writing() as connection:
            if condition is not None:
                rows = _versions(connection, bucket, key)
                condition(rows[0] if rows and not rows[0].marker else None)
            result = self._delete(connection, bucket, (key, version), versioning, removed)
        self.blobs.delete(removed)
        return result

    def delete_many(
        self, bucket: str, keys: Iterable[tuple[str, str | None]], versioning: str | None
    ) -> list[Deletion]:
        """Delete objects and versions in one transaction."""
        removed: list[Segment] = []
        with self.index.writing() as connection:
            results = [self._delete(connection, bucket, key, versioning, removed) for key in keys]
        self.blobs.delete(removed)
        return results

    def _delete(
        self,
        connection: sqlite3.Connection,
        bucket: str,
        key: tuple[str, str | None],
        versioning: str | None,
        removed: list[Segment],
    ) -> Deletion:
        name, version = key
        if version is None and versioning is not None:
            marker = StoredObject(key=name, modified=time.time(), marker=True)
            removed += self._insert(connection, bucket, marker, versioning, None)
            return Deletion(version=marker.version, marker=True)
        rows = _versions(connection, bucket, name)
        wanted = NULL_VERSION if version is None else version
        for old in rows:
            if old.version == wanted:
                _remove(connection, bucket, old)
                removed += old.segments
                if old.latest and len(rows) > 1:
                    following = rows[rows.index(old) + 1]
                    connection.execute(
                        "UPDATE objects SET latest = 1 WHERE bucket = ? AND key = ? AND age = ?",
                        (bucket, name.encode(), following.age),
                    )
                return Deletion(version=version, marker=old.marker)
        return Deletion(version=version)

    def update(self, bucket: str, stored: StoredObject) -> None:
        """Store changed attributes of a version."""
        with self.index.writing() as connection:
            connection.execute(
                "UPDATE objects SET attributes = ? WHERE bucket = ? AND key = ? AND age = ?",
                (
                    encode_attributes(stored.attributes),
                    bucket,
                    stored.key.encode(),
                    stored.age,
                ),
            )

    def has_objects(self, bucket: str) -> bool:
        """Return whether the bucket has an object, a version or a delete marker."""
        return self.index.row("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", bucket) is not None

    def list_keys(self, query: ListQuery) -> KeyPage:
        """Return a page of objects, or of versions and delete markers, and common prefixes."""
        page, low, inclusive = KeyPage(), *_start(query)
        with self.index.reading() as connection:
            if query.after and query.after_version:
                low, inclusive = query.after.encode(), False
                self._scan_rest(connection, query, page)
            while not page.truncated:
                following = self._scan(connection, query, page, (low, inclusive))
                if following is None:
                    break
                low, inclusive = following, True
        return page

    def _scan_rest(self, connection: sqlite3.Connection, query: ListQuery, page: KeyPage) -> None:
        """Add the versions of the key `after` that are older than `after_version`."""
        rows = _versions(connection, query.bucket, query.after)
        age = _age(query.after_version, rows)
        for stored in rows:
            if age is not None and stored.age > age:
                page.truncated = page.count >= query.limit
                if page.truncated:
                    return
                page.last = stored.key
                page.objects.append(stored)

    def _scan(
        self,
        connection: sqlite3.Connection,
        query: ListQuery,
        page: KeyPage,
        position: tuple[bytes, bool],
    ) -> bytes | None:
        """Add keys until a common prefix; return the first key after it, None at the end."""
        low, inclusive = position
        high = after_prefix(query.prefix.encode())
        sql = (
            f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND key {'>=' if inclusive else '>'} ?"  # noqa: S608
            f"{'' if high is None else ' AND key < ?'}"
            f"{'' if query.versions else ' AND latest AND NOT marker'} ORDER BY key, age"
        )
        values = (query.bucket, low, *(() if high is None else (high,)))
        for row in connection.execute(sql, values):
            key = row[0].decode()
            end = key.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
            if page.count >= query.limit:
                page.truncated = True
                return None
            if end >= 0:
                page.last = key[: end + len(query.delimiter)]
                page.prefixes.append(page.last)
                return after_prefix(page.last.encode())
            page.last = key
            page.objects.append(from_row(row))
        return None

    def delete_bucket(self, bucket: str) -> None:
        """Delete everything of a bucket: its settings, uploads and remaining objects."""
        with self.index.writing() as connection:
            found = connection.execute(
                "SELECT segments FROM objects WHERE bucket = ? UNION ALL SELECT segments FROM parts"
                " WHERE upload IN (SELECT id FROM uploads WHERE bucket = ?)",
                (bucket, bucket),
            ).fetchall()
            connection.execute(
                "DELETE FROM parts WHERE upload IN (SELECT id FROM uploads WHERE bucket = ?)",
                (bucket,),
            )
            for table in ("objects", "uploads", "settings"):
                connection.execute(f"DELETE FROM {table} WHERE bucket = ?", (bucket,))  # noqa: S608
        for (segments,) in found:
            self.blobs.delete(parse_segments(segments))

    def _recover(self) -> None:
        """Delete files without an object, and objects and parts whose file does not exist."""
        files, used = set(self.blobs.ids()), set[str]()
        with self.index.writing() as connection:
            for table, columns in _WITH_CONTENT.items():
                rows = connection.execute(f"SELECT segments, {', '.join(columns)} FROM {table}")  # noqa: S608
                for text, *key in rows.fetchall():
                    ids = {segment.id for segment in parse_segments(text)}
                    used |= ids
                    if not ids <= files:
                        _log.warning("the content of %s %s is missing", table, key)
                        where = " AND ".join(f"{column} = ?" for column in columns)
                        connection.execute(f"DELETE FROM {table} WHERE {where}", key)  # noqa: S608
        self.blobs.delete(Segment(id_, 0) for id_ in files - used)


def _start(query: ListQuery) -> tuple[bytes, bool]:
    """Return the first key of a page, and whether the key itself belongs to it."""
    prefix = query.prefix.encode()
    if not query.after:
        return prefix, True
    if query.delimiter and query.after.startswith(query.prefix):
        end = query.after.find(query.delimiter, len(query.prefix))
        if end >= 0 and end + len(query.delimiter) == len(query.after):
            # A marker that is a common prefix: the next page begins after all keys below it.
            return after_prefix(query.after.encode()) or b"\xff", True
    after = query.after.encode()
    return (prefix, True) if after < prefix else (after, False)


def after_prefix(prefix: bytes) -> bytes | None:
    """Return the first key after all keys with the prefix; None if there is no such key."""
    # In UTF-8 no byte is 0xff, so the last one can be increased.
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else None


def _versions(connection: sqlite3.Connection, bucket: str, key: str) -> list[StoredObject]:
    """Return the versions of a key, the newest first."""
    sql = f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND key = ? ORDER BY age"  # noqa: S608
    return [from_row(row) for row in connection.execute(sql, (bucket, key.encode()))]


def delete_upload(connection: sqlite3.Connection, id_: str) -> None:
    """Delete an upload and its parts from the index; raises S3's error if it does not exist."""
    if not connection.execute("DELETE FROM uploads WHERE id = ?", (id_,)).rowcount:
        raise no_such_upload(id_)
    connection.execute("DELETE FROM parts WHERE upload = ?", (id_,))


def _remove(connection: sqlite3.Connection, bucket: str, stored: StoredObject) -> None:
    connection.execute(
        "DELETE FROM objects WHERE bucket = ? AND key = ? AND age = ?",
        (bucket, stored.key.encode(), stored.age),
    )
