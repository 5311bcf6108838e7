"""Files of runs: in a local folder, or as objects of a bucket."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from emrctl.aws.errors import get_or_none
from emrctl.aws.listing import objects
from emrctl.errors import EmrctlError
from emrctl.paths import atomic_file

RUNS_PREFIX = "runs/"
T = TypeVar("T")
# Size of boto3's connection pool.
_REQUESTS = 10


@dataclass(frozen=True)
class LocalStorage:
    """Files in a local folder, which is created by the first write; keys have slashes."""

    path: Path

    def read(self, key: str) -> bytes | None:
        """Return the content of a file, None if it does not exist."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

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
            raise EmrctlError(message, hint=hint) from error

    def delete(self, key: str) -> None:
        """Delete a file if it exists."""
        (self.path / key).unlink(missing_ok=True)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the files in the folder `prefix`, sorted."""
        files = (path for path in (self.path / prefix).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in files)

    def folders(self, file: str = "") -> list[str]:
        """Return the names of the folders, sorted; with `file` only those that contain it."""
        names = sorted(entry.name for entry in self._entries())
        return [name for name in names if not file or (self.path / name / file).exists()]

    def times(self) -> dict[str, int]:
        """Return the modification time of each folder in ns."""
        return {entry.name: entry.stat().st_mtime_ns for entry in self._entries()}

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.path) as entries:
                return [entry for entry in entries if entry.is_dir()]
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
        address = {"Bucket": self.bucket, "Key": self.prefix + key}
        answer = get_or_none(lambda: self.s3.get_object(**address), "NoSuchKey", "404")
        return None if answer is None else bytes(answer["Body"].read())

    def write(self, key: str, body: bytes | BinaryIO) -> None:
        """Put an object; a stream can be larger than the memory."""
        if isinstance(body, bytes):
            self.s3.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=body)
        else:
            self.s3.upload_fileobj(body, self.bucket, self.prefix + key)

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        self.s3.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted."""
        items = objects(self.s3, self.bucket, self.prefix + prefix)
        return sorted(item["Key"].removeprefix(self.prefix) for item in items)

    def folders(self, _file: str = "") -> list[str]:
        """Return the names of all folders, sorted: S3 does not list which contain a file."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self.prefix, Delimiter="/"
        )
        found = (item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ()))
        return sorted(name.removeprefix(self.prefix).rstrip("/") for name in found)

    def in_parallel(self, read: Callable[[str], T], names: Sequence[str]) -> list[T]:
        """Return what `read` returns for each name, with several requests at a time."""
        with ThreadPoolExecutor(min(_REQUESTS, len(names) or 1)) as pool:
            return list(pool.map(read, names))

    def location(self, key: str) -> str:
        """Return the `s3://` URI of an object."""
        return f"s3://{self.bucket}/{self.prefix}{key}"


FileStorage = LocalStorage | S3Storage
