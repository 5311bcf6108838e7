"""The faults of requests: throttling errors of AWS, and a slow S3.

Only HTTP requests are affected. The emulator itself reads and writes S3 and EC2 in its process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from emrctl.emulator.faults import SERVICES, Faults, SlowS3, Throttle
from emrctl.emulator.server.sigv4 import (
    SERVICE_KEY,
    Application,
    Environ,
    HttpError,
    StartResponse,
    refuse,
)

_ERRORS = {
    "emr": HttpError("ThrottlingException", "Rate exceeded", 400),
    "ec2": HttpError("RequestLimitExceeded", "Request limit exceeded.", 503),
    "s3": HttpError("SlowDown", "Please reduce your request rate.", 503),
}
_NAMES = {signed: name for name, signed in SERVICES.items()}
_MB = 1e6
_BLOCK_BYTES = 65_536

Sleep = Callable[[float], None]


@dataclass(frozen=True)
class FaultInjection:
    """A WSGI application that applies the active faults to requests to `inner`."""

    inner: Application
    faults: Faults
    sleep: Sleep = time.sleep

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Return the inner application's response, delayed, or a throttling error."""
        service = _NAMES.get(environ.get(SERVICE_KEY, ""))
        if service is None:
            return self.inner(environ, start_response)
        if self.faults.take(Throttle, lambda one: one.service in ("", service)) is not None:
            return refuse(environ, start_response, _ERRORS[service])
        slow = self.faults.take(SlowS3) if service == "s3" else None
        if slow is None:
            return self.inner(environ, start_response)
        self.sleep(slow.delay)
        if slow.bandwidth is None:
            return self.inner(environ, start_response)
        pace = Pace(slow.bandwidth * _MB, self.sleep)
        environ["wsgi.input"] = PacedInput(environ["wsgi.input"], pace)
        return PacedBody(self.inner(environ, start_response), pace)


@dataclass(frozen=True)
class Pace:
    """Waits as long as the transfer of bytes takes."""

    bytes_per_s: float
    sleep: Sleep

    def blocks(self, data: bytes) -> Iterator[bytes]:
        """Yield the data in blocks, each after its time."""
        for start in range(0, len(data), _BLOCK_BYTES):
            block = data[start : start + _BLOCK_BYTES]
            self.sleep(len(block) / self.bytes_per_s)
            yield block


@dataclass(frozen=True)
class PacedInput:
    """A request's body that is read at a pace."""

    stream: Any
    pace: Pace

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes after their time."""
        return b"".join(self.pace.blocks(self.stream.read(size)))

    def __getattr__(self, name: str) -> Any:
        """Return what else the server and applications use of a body."""
        return getattr(self.stream, name)


@dataclass(frozen=True)
class PacedBody:
    """A response's body that is sent at a pace."""

    body: Any
    pace: Pace

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in small blocks."""
        for part in self.body:
            yield from self.pace.blocks(part)

    def close(self) -> None:
        """Close the body."""
        if hasattr(self.body, "close"):
            self.body.close()
