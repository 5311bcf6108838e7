"""Files of runs: where they are stored, and the name of every file of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from emrctl.aws.listing import objects
from emrctl.errors import EmrctlError
from emrctl.paths import write_atomically

RUNS_PREFIX = "runs/"


class FileStorage(Protocol):
    """Files by keys with slashes."""

    def read(self, key: str) -> bytes | None:
        """Return the content of a file, None if it does not exist."""

    def write(self, key: str, body: bytes) -> None:
        """Write a whole file atomically."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted."""

    def location(self, key: str) -> str:
        """Return the path or URI of a file."""


@dataclass(frozen=True)
class LocalStorage:
    """Files in a local folder, which is created by the first write."""

    path: Path

    def read(self, key: str) -> bytes | None:
        """Return the content of a file, None if it does not exist."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, key: str, body: bytes) -> None:
        """Write a whole file atomically."""
        path = self.path / key
        try:
            write_atomically(path, body, 0o600)
        except OSError as error:
            message = f"cannot write {path}: {error.strerror}"
            hint = "Make the folder writable, or free disk space."
            raise EmrctlError(message, hint=hint) from error

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the files in the folder `prefix`, sorted."""
        files = (path for path in (self.path / prefix).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in files)

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

        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=self.prefix + key)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise
        return bytes(answer["Body"].read())

    def write(self, key: str, body: bytes) -> None:
        """Put an object."""
        self.s3.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=body)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted."""
        items = objects(self.s3, self.bucket, self.prefix + prefix)
        return sorted(item["Key"].removeprefix(self.prefix) for item in items)

    def location(self, key: str) -> str:
        """Return the `s3://` URI of an object."""
        return f"s3://{self.bucket}/{self.prefix}{key}"


@dataclass(frozen=True)
class RunFiles:
    """The files of one run; no other code knows their names."""

    storage: FileStorage
    run_id: str

    RECORD: ClassVar = "run.json"
    TAGS: ClassVar = "tags.json"
    METRICS: ClassVar = "metrics.json"
    # Written by the job to its output, and copied to the store.
    RESULT: ClassVar = "result.json"
    YARN: ClassVar = "yarn.json"
    INSTANCES: ClassVar = "instances.json"
    CLOUDWATCH: ClassVar = "cloudwatch.json"
    NODE_SAMPLES: ClassVar = "nodes.jsonl"
    # Folders.
    LOGS: ClassVar = "logs/"
    EVENT_LOG: ClassVar = "eventlog/"

    @staticmethod
    def run_ids(storage: FileStorage) -> list[str]:
        """Return the ids of all runs that have a record, oldest first."""
        ending = f"/{RunFiles.RECORD}"
        return [
            key.removesuffix(ending)
            for key in storage.keys("")
            if key.count("/") == 1 and key.endswith(ending)
        ]

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

    def write(self, name: str, body: bytes, folder: str = "") -> None:
        """Write a file."""
        self.storage.write(f"{self.run_id}/{folder}{name}", body)

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

    def location(self, name: str = "", folder: str = "") -> str:
        """Return the path or URI of a file, by default of the run's folder."""
        return self.storage.location(f"{self.run_id}/{folder}{name}".rstrip("/"))
