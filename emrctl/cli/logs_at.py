"""Where `emrctl metrics` finds event logs: paths, stdin, S3 and the store of runs."""

from __future__ import annotations

import functools
import io
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from emrctl.aws.listing import objects
from emrctl.aws.s3 import split_uri
from emrctl.errors import EmrctlError, NotFoundError

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFile
    from emrctl.runs.store import Store

_TRIES = 5


def path_or_none(source: str) -> Path | None:
    """The path that `source` is; None where it names a run."""
    path = Path(source).expanduser()
    if path.exists():
        return path
    if "/" in source:
        from emrctl import redact

        raise NotFoundError(f"no event log at {redact.text(source)}")
    return None


def stdin() -> tuple[EventLogFile, ...]:
    """What is piped in."""
    from emrctl.metrics.eventlog.layout import EventLogFile

    return (EventLogFile("stdin", lambda: nullcontext(cast("BinaryIO", sys.stdin.buffer))),)


def of_run(store: Store, run_id: str) -> tuple[EventLogFile, ...]:
    """The event log that was pulled with the run; `NotFoundError` where none was."""
    from emrctl.metrics.eventlog.layout import EventLogFile

    folder = "eventlog/"
    names = store.names(run_id, folder)
    if not names:
        raise NotFoundError(
            f"run {run_id} has no event log in the store",
            hint=f"`emrctl pull {run_id}` looks again.",
        )

    def opened(name: str) -> BinaryIO:
        return io.BytesIO(store.get(run_id, name) or b"")

    return tuple(
        EventLogFile(name.removeprefix(folder), functools.partial(opened, name)) for name in names
    )


def on_s3(s3: Any, address: str) -> tuple[EventLogFile, ...]:
    """The object at `address`, or all that lie under it as a folder; `s3` is a boto3 client."""
    from botocore.exceptions import BotoCoreError, ClientError

    from emrctl import redact
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
    above = f"{folder}/" if folder else ""
    found = [name for name in keys if name.startswith(above)]
    if not found:
        raise NotFoundError(f"no event log at {redact.text(address)}")
    return tuple(
        EventLogFile(name.removeprefix(above), functools.partial(_opened, s3, bucket, name))
        for name in found
    )


def _opened(s3: Any, bucket: str, key: str) -> AbstractContextManager[BinaryIO]:
    return cast("AbstractContextManager[BinaryIO]", _Object(s3, bucket, key))


class _Object:
    """An object of S3 as a file that is read once; a connection that breaks is taken up again."""

    def __init__(self, s3: Any, bucket: str, key: str) -> None:
        self._get = functools.partial(s3.get_object, Bucket=bucket, Key=key)
        self._name = f"s3://{bucket}/{key}"
        self._body: Any = None
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """`size` bytes or fewer; none at the end."""
        from botocore.exceptions import BotoCoreError, ClientError

        for left in reversed(range(_TRIES)):
            try:
                if self._body is None:
                    self._body = self._from(self._at)
                found = bytes(self._body.read(size if size >= 0 else None))
            except (BotoCoreError, ClientError, OSError) as error:
                self._body = None
                if not left or isinstance(error, ClientError):
                    raise EmrctlError(f"cannot read {self._name}: {error}") from error
            else:
                self._at += len(found)
                return found
        return b""

    def _from(self, at: int) -> Any:
        span = {"Range": f"bytes={at}-"} if at else {}
        return self._get(**span)["Body"]

    def seekable(self) -> bool:
        """It is a stream."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._body is not None:
            self._body.close()
