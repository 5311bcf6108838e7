"""Steps, their states and their logs, as both backends return them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from emrctl.aws import errors
from emrctl.aws.listing import objects
from emrctl.aws.target import Target
from emrctl.errors import EmrctlError, UnavailableError

StepState = Literal[
    "PENDING", "RUNNING", "CANCEL_PENDING", "COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"
]
FINAL_STEP_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"})
_GZIP_MAGIC = b"\x1f\x8b"


def to_iso(moment: datetime | None) -> str | None:
    """Return a time in ISO 8601, UTC, milliseconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of a cluster; `reason` is the cluster's explanation of its final state."""

    id: str
    name: str
    state: StepState
    started: datetime | None = None
    ended: datetime | None = None
    reason: str = ""

    @property
    def finished(self) -> bool:
        """Whether the state of the step is final."""
        return self.state in FINAL_STEP_STATES


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """One log of a step, named like `step/stderr`, and its URI."""

    name: str
    uri: str
    text: bytes


def log_location(log_uri: str, cluster_id: str) -> tuple[str, str]:
    """Return bucket and prefix, without a trailing slash, of a cluster's logs."""
    bucket, _, prefix = log_uri.partition("://")[2].partition("/")
    return bucket, f"{prefix.rstrip('/')}/{cluster_id}".lstrip("/")


def read_logs(target: Target, bucket: str, prefix: str, folder: str) -> Iterator[LogFile]:
    """Yield the logs below a prefix with a trailing slash; their names begin with `folder`."""
    with translated(f"reading s3://{bucket}/{prefix}"):
        s3 = target.client("s3")
        for item in objects(s3, bucket, prefix):
            key = item["Key"]
            body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            # The suffix .gz can be missing or wrong.
            text = gzip.decompress(body) if body.startswith(_GZIP_MAGIC) else body
            name = key.removeprefix(prefix).removesuffix(".gz")
            yield LogFile(name=f"{folder}/{name}", uri=f"s3://{bucket}/{key}", text=text)


def translate_error(error: Exception, action: str) -> EmrctlError:
    """Return emrctl's error for one of boto3's: `UnavailableError` if a retry may succeed."""
    translated = errors.translate(error, action)
    if errors.is_transient(error):
        return UnavailableError(translated.message, hint=translated.hint)
    return translated


@contextmanager
def translated(
    action: str, translate: Callable[[Exception, str], EmrctlError] = translate_error
) -> Iterator[None]:
    """Raise boto3's errors as emrctl's, by default as `translate_error` returns them."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(error, action) from error
