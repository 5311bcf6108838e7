"""Sources of event logs for `emrctl metrics`: files, stdin, S3 and the store of runs."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from emrctl import redact
from emrctl.aws.listing import objects
from emrctl.aws.s3 import split_uri
from emrctl.errors import EmrctlError, NotFoundError

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFile, EventLogFiles
    from emrctl.metrics.model import RunMetrics

_ATTEMPTS = 5


def is_on_s3(source: str) -> bool:
    """Return whether `source` is an address on S3."""
    return source.startswith(("s3://", "s3a://", "s3n://"))


def find(source: str, s3: Callable[[], Any]) -> EventLogFiles | None:
    """Return the event logs at a path or an S3 address; None if `source` can only be a run's name.

    `s3` returns a boto3 client.
    """
    from emrctl.metrics.eventlog import layout

    if is_on_s3(source):
        return from_s3(s3(), source)
    path = Path(source).expanduser()
    if not path.exists():
        if "/" in source:
            raise NotFoundError(f"no event log at {redact.text(source)}")
        return None
    files = layout.list_files(path)
    if not files:
        raise layout.no_event_log()
    return files


def require_application(source: str, runs: Iterable[RunMetrics]) -> None:
    """Raise `NotFoundError` if the logs at `source` have no event of an application."""
    from emrctl.metrics.model import RunMetrics

    about_log = dict.fromkeys(("notes", "bad_lines", "spark_version", "complete"))
    empty = RunMetrics().to_json() | about_log
    if all(run.to_json() | about_log == empty for run in runs):
        hint = "Give the event log of an application that started."
        raise NotFoundError(f"{redact.text(source)} has no event of an application", hint=hint)


def find_or_stdin(source: str, s3: Callable[[], Any]) -> EventLogFiles | None:
    """Return what `find` does, or stdin for `-`."""
    return _from_stdin() if source == "-" else find(source, s3)


def _from_stdin() -> tuple[EventLogFile, ...]:
    """Return stdin as an event log."""
    from emrctl.metrics.eventlog.layout import EventLogFile

    return (EventLogFile("stdin", lambda: nullcontext(cast("BinaryIO", sys.stdin.buffer))),)


def from_s3(s3: Any, address: str) -> tuple[EventLogFile, ...]:
    """Return the object at `address`, or the objects below it; `s3` is a boto3 client."""
    from botocore.exceptions import BotoCoreError, ClientError

    from emrctl.metrics.eventlog.layout import EventLogFile

    bucket, key = split_uri(address)
    try:
        keys = [item["Key"] for item in objects(s3, bucket, key)]
    except (BotoCoreError, ClientError) as error:
        raise NotFoundError(f"cannot list {redact.text(address)}: {error}") from error
    if key in keys:
        keys, folder = [key], key.rpartition("/")[0]
    else:
        folder = key.rstrip("/")
    prefix = f"{folder}/" if folder else ""
    names = [name for name in keys if name.startswith(prefix)]
    if not names:
        raise NotFoundError(f"no event log at {redact.text(address)}")
    return tuple(
        EventLogFile(name.removeprefix(prefix), functools.partial(_open_object, s3, bucket, name))
        for name in names
    )


def _open_object(s3: Any, bucket: str, key: str) -> AbstractContextManager[BinaryIO]:
    return cast("AbstractContextManager[BinaryIO]", _ObjectStream(s3, bucket, key))


class _ObjectStream:
    """An S3 object as a stream; reading is retried from the current offset on a lost connection."""

    def __init__(self, s3: Any, bucket: str, key: str) -> None:
        self._get = functools.partial(s3.get_object, Bucket=bucket, Key=key)
        self._name = f"s3://{bucket}/{key}"
        self._body: Any = None
        self._offset = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none at the end."""
        from botocore.exceptions import BotoCoreError, ClientError

        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                if self._body is None:
                    span = {"Range": f"bytes={self._offset}-"} if self._offset else {}
                    self._body = self._get(**span)["Body"]
                data = bytes(self._body.read(size if size >= 0 else None))
            except (BotoCoreError, ClientError, OSError) as error:
                self._body = None
                if not attempts_left or isinstance(error, ClientError):
                    raise EmrctlError(f"cannot read {self._name}: {error}") from error
            else:
                self._offset += len(data)
                return data
        return b""

    def seekable(self) -> bool:
        """Return False."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._body is not None:
            self._body.close()
