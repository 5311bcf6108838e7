"""Steps, their states and their logs, as both backends return them."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal

from emrctl.aws import errors
from emrctl.aws.listing import objects
from emrctl.aws.s3 import open_object
from emrctl.aws.target import Target

StepState = Literal[
    "PENDING", "RUNNING", "CANCEL_PENDING", "COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"
]
FINAL_STEP_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"})


def to_iso(moment: datetime | None) -> str | None:
    """Return a time in ISO 8601, UTC, milliseconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of a cluster; `reason` is the cluster's explanation of its final state.

    `inferred` means that the cluster did not report the state: it has ended before the step did.
    """

    id: str
    name: str
    state: StepState
    started: datetime | None = None
    ended: datetime | None = None
    reason: str = ""
    inferred: bool = False

    @property
    def finished(self) -> bool:
        """Whether the state of the step is final."""
        return self.state in FINAL_STEP_STATES


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """One log of a step, named like `step/stderr`, and its URI.

    Its content is `text`, or what `source` opens: a log can be larger than the memory.
    """

    name: str
    uri: str
    text: bytes = b""
    source: Callable[[], BinaryIO] | None = None

    def open(self) -> BinaryIO:
        """Open the log; each call reads it from its start."""
        return io.BytesIO(self.text) if self.source is None else self.source()


def log_location(log_uri: str, cluster_id: str) -> tuple[str, str]:
    """Return bucket and prefix, without a trailing slash, of a cluster's logs."""
    bucket, _, prefix = log_uri.partition("://")[2].partition("/")
    return bucket, f"{prefix.rstrip('/')}/{cluster_id}".lstrip("/")


def read_logs(target: Target, bucket: str, prefix: str, folder: str) -> Iterator[LogFile]:
    """Yield the logs below a prefix with a trailing slash; their names begin with `folder`.

    There are none if the bucket was deleted before the step ended.
    """
    with errors.translated(f"reading s3://{bucket}/{prefix}"):
        s3 = target.client("s3")
        listed = errors.get_or_none(lambda: list(objects(s3, bucket, prefix)), "NoSuchBucket")
        for item in listed or ():
            key = item["Key"]
            name = key.removeprefix(prefix).removesuffix(".gz")
            source = functools.partial(_open_object, s3, bucket, key)
            yield LogFile(name=f"{folder}/{name}", uri=f"s3://{bucket}/{key}", source=source)


def _open_object(s3: Any, bucket: str, key: str) -> BinaryIO:
    with errors.translated(f"reading s3://{bucket}/{key}"):
        return open_object(s3, bucket, key)
