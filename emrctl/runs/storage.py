"""Files of runs: in a local folder, or as objects of a bucket.

A file that exists and cannot be read raises `DamagedFileError`.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from emrctl.aws.errors import error_code, get_or_none, translated
from emrctl.aws.listing import objects
from emrctl.errors import DamagedFileError, DiskError, EmrctlError
from emrctl.paths import atomic_file

RUNS_PREFIX = "runs/"
T = TypeVar("T")


class Version(NamedTuple):
    """The version of a run's files: when they changed, in ns, and a text that differs then.

    On S3 the text alone is exact, and the time is 0.
    """

    changed_ns: int
    text: str


# Size of boto3's connection pool.
_REQUESTS = 10
_MAX_NAME_BYTES = 255
# Names of temporary files, see `paths.atomic_file`.
_LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.part")
# Errors that concern one object, e.g. an archived one; others concern all.
_OF_ONE_OBJECT = frozenset({"AccessDenied", "InvalidObjectState", "NoSuchVersion"})


@dataclass(frozen=True)
class LocalStorage:
    """Files in a local folder, which is created by the first write; keys have slashes."""

    path: Path

    def read(self, key: str) -> bytes | None:
        """Return the content of a file, None if it does not exist."""
        path = self.path / key
        try:
            with open(path, "rb", opener=_open_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise DamagedFileError(str(path), "it is not a regular file")
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            reason = error.strerror or str(error)
            damaged = error.errno in {errno.EISDIR, errno.ELOOP}
            raise DamagedFileError(str(path), reason, damaged=damaged) from error

    def write(self, key: str, body: bytes | BinaryIO) -> None:
        """Write a whole file atomically."""
        path = self.path / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path, 0o600) as temporary, temporary.open("wb") as file:
                shutil.copyfileobj(io.BytesIO(body) if isinstance(body, bytes) else body, file)
        except OSError as error:
            message = f"cannot write {path}: {error.strerror}"
            hint = "Make the folder writable, or free disk space."
            raise DiskError(message, hint=hint) from error

    def delete(self, key: str) -> None:
        """Delete a file if it exists."""
        path = self.path / key
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise DiskError(f"cannot delete {path}: {error.strerror}") from error

    def move(self, key: str, new: str) -> None:
        """Rename a file, or what is in its place."""
        path = self.path / key
        try:
            path.rename(self.path / new)
        except OSError as error:
            raise DiskError(f"cannot rename {path}: {error.strerror}") from error

    def names(self, folder: str) -> list[str]:
        """Return the names of everything in a folder, sorted; [] if it cannot be read."""
        try:
            return sorted(path.name for path in (self.path / folder).iterdir())
        except OSError:
            return []

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the files in the folder `prefix`, sorted."""
        files = (path for path in (self.path / prefix).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in files)

    def leftovers(self, age_s: float) -> list[str]:
        """Return the keys of files of interrupted writes that are older than `age_s` seconds."""
        end = time.time() - age_s
        files = self.path.rglob(".*.part")
        return sorted(
            path.relative_to(self.path).as_posix()
            for path in files
            if _LEFTOVER.fullmatch(path.name) and path.lstat().st_mtime < end
        )

    def folders(self, file: str = "") -> list[str]:
        """Return the names of the folders, sorted; with `file` only those that contain it."""
        names = sorted(entry.name for entry in self._entries())
        return [name for name in names if not file or _exists(self.path / name / file)]

    def versions(self, file: str) -> dict[str, Version]:
        """Return the version of each folder that contains `file`.

        Files are replaced, which changes the time of the folder; `file` may also have been edited.
        """
        versions = {}
        for entry in self._entries():
            folder_ns, file_ns, size = entry.stat().st_mtime_ns, 0, 0
            try:
                found = os.stat(f"{entry.path}/{file}")  # noqa: PTH116 - of 10,000 files
                file_ns, size = found.st_mtime_ns, found.st_size
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                pass  # reading the file gives the reason
            text = f"{folder_ns} {file_ns} {size}"
            versions[entry.name] = Version(max(folder_ns, file_ns), text)
        return versions

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.path) as entries:
                return [item for item in entries if item.is_dir() and is_name(item.name)]
        except FileNotFoundError:
            return []

    def in_parallel(self, read: Callable[[str], T], names: Sequence[str]) -> list[T]:
        """Return what `read` returns for each name, one after another: a disk needs no threads."""
        return [read(name) for name in names]

    def location(self, key: str) -> str:
        """Return the path of a file."""
        return str(self.path / key)


@dataclass(frozen=True)
class S3Storage:
    """Files under a prefix of a bucket; `s3` is a boto3 client."""

    s3: Any
    bucket: str
    prefix: str = RUNS_PREFIX

    def read(self, key: str) -> bytes | None:
        """Return the content of an object, None if it does not exist."""
        from botocore.exceptions import ClientError

        address = {"Bucket": self.bucket, "Key": self.prefix + key}
        location = self.location(key)
        try:
            with translated(f"reading {location}"):
                answer = get_or_none(lambda: self.s3.get_object(**address), "NoSuchKey", "404")
                return None if answer is None else bytes(answer["Body"].read())
        except EmrctlError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and error_code(cause) in _OF_ONE_OBJECT:
                raise DamagedFileError(location, error_code(cause), damaged=False) from error
            raise

    def write(self, key: str, body: bytes | BinaryIO) -> None:
        """Put an object; a stream can be larger than the memory."""
        with translated(f"writing {self.location(key)}"):
            if isinstance(body, bytes):
                self.s3.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=body)
            else:
                self.s3.upload_fileobj(body, self.bucket, self.prefix + key)

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        with translated(f"deleting {self.location(key)}"):
            self.s3.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def move(self, key: str, new: str) -> None:
        """Rename an object."""
        source = {"Bucket": self.bucket, "Key": self.prefix + key}
        with translated(f"renaming {self.location(key)}"):
            self.s3.copy_object(Bucket=self.bucket, Key=self.prefix + new, CopySource=source)
        self.delete(key)

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects and folders in a folder, sorted."""
        prefix = f"{self.prefix}{folder}/"
        names = (name.removeprefix(prefix).rstrip("/") for name in self._listed(prefix))
        return sorted(filter(None, names))

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted."""
        items = self._objects(prefix)
        return sorted(item["Key"].removeprefix(self.prefix) for item in items)

    def leftovers(self, _age_s: float) -> list[str]:
        """Return no keys: S3 does not show an object before it is complete."""
        return []

    def folders(self, _file: str = "") -> list[str]:
        """Return the names of all folders, sorted: S3 does not list which contain a file."""
        folders = (name for name in self._listed(self.prefix) if name.endswith("/"))
        names = (name.removeprefix(self.prefix).rstrip("/") for name in folders)
        return sorted(filter(is_name, names))

    def versions(self, file: str) -> dict[str, Version]:
        """Return the version of each folder that contains `file`: that of its own objects."""
        tags: dict[str, dict[str, str]] = {}
        for item in self._objects(""):
            folder, _, name = item["Key"].removeprefix(self.prefix).partition("/")
            if name and "/" not in name:
                tags.setdefault(folder, {})[name] = item["ETag"]
        return {
            name: Version(0, str(sorted(found.items())))
            for name, found in tags.items()
            if file in found
        }

    def _objects(self, prefix: str) -> list[dict[str, Any]]:
        """Return S3's description of each object whose key starts with `prefix`."""
        with translated(f"listing {self.location(prefix)}"):
            return list(objects(self.s3, self.bucket, self.prefix + prefix))

    def _listed(self, prefix: str) -> Iterator[str]:
        """Yield the keys of the objects and, with a slash, of the folders directly in a prefix."""
        with translated(f"listing s3://{self.bucket}/{prefix}"):
            pages = self.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                yield from (item["Prefix"] for item in page.get("CommonPrefixes", ()))
                yield from (item["Key"] for item in page.get("Contents", ()))

    def in_parallel(self, read: Callable[[str], T], names: Sequence[str]) -> list[T]:
        """Return what `read` returns for each name, with several requests at a time."""
        with ThreadPoolExecutor(min(_REQUESTS, len(names) or 1)) as pool:
            return list(pool.map(read, names))

    def location(self, key: str) -> str:
        """Return the `s3://` URI of an object."""
        return f"s3://{self.bucket}/{self.prefix}{key}"


FileStorage = LocalStorage | S3Storage


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a run's folder."""
    fits = 0 < len(text.encode(errors="replace")) <= _MAX_NAME_BYTES
    return fits and text.isprintable() and text[0] != "." and "/" not in text


def _exists(path: Path) -> bool:
    """Return whether a file exists, also if it may not be read."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe in its place does not block."""
    return os.open(path, flags | os.O_NONBLOCK)
