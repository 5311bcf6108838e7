"""A warning while AWS throttles requests, which boto3 repeats more slowly without a message."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emrctl.aws.error_codes import THROTTLED, code_cause

_LOGGER = logging.getLogger("emrctl")
# AWS throttles single requests of any account: so many within the interval are a warning.
RESPONSES, INTERVAL_S = 3, 60.0


@dataclass
class ThrottlingMonitor:
    """Warns when AWS has throttled `RESPONSES` requests to a service within `INTERVAL_S` seconds.

    The warning is repeated at most once per interval.
    """

    service: str
    clock: Callable[[], float] = time.monotonic
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=RESPONSES))
    _warned: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def register(self, client: Any) -> None:
        """Observe the responses to a boto3 client, also those that boto3 handles itself."""
        client.meta.events.register("needs-retry", self.observe)

    def observe(self, *, response: Any, operation: Any, **_: Any) -> None:
        """Handle botocore's event `needs-retry`, which follows each response."""
        if _is_throttled(response):
            self.throttled(str(operation.name))

    def throttled(self, operation: str) -> None:
        """Record a throttled response, and warn if it is one of many."""
        now = self.clock()
        with self._lock:
            self._times.append(now)
            many = len(self._times) == RESPONSES and now - self._times[0] <= INTERVAL_S
            if not many or (self._warned is not None and now - self._warned < INTERVAL_S):
                return
            self._warned = now
        _LOGGER.warning(
            "warning: AWS throttles requests to %s (%s); they are repeated more slowly. "
            "The limit is shared by the whole account.",
            self.service.upper(),
            operation,
        )


def repeat_only_throttled(client: Any) -> None:
    """Let a boto3 client repeat no request but those that AWS has throttled, and not executed."""
    service = client.meta.service_model.service_id.hyphenize()

    def decide(*, response: Any, **_: Any) -> bool | None:
        # None leaves the decision to botocore's handlers, which come later.
        return None if _is_throttled(response) else False

    client.meta.events.register_first(f"needs-retry.{service}", decide)


def _is_throttled(response: Any) -> bool:
    """Return whether a response of botocore, None without one, is that AWS throttles."""
    error = {} if response is None else response[1].get("Error", {})
    return code_cause(str(error.get("Code", "")), str(error.get("Message") or "")) is THROTTLED


@functools.cache
def monitor(service: str) -> ThrottlingMonitor:
    """Return the monitor of a service, which all clients of this process share."""
    return ThrottlingMonitor(service)
