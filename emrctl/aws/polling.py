"""Pauses between polls of the same resource, and the time limit for failed polls.

EMR's API rate limit is shared by the whole account. So pauses are jittered, grow while nothing
changes, and grow faster while AWS throttles.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from emrctl.errors import EmrctlError

T = TypeVar("T")

# A step that has just started changes soon; one that has run for an hour does not.
GROWTH, MAX_FACTOR = 1.1, 3.0
THROTTLED_GROWTH, MAX_THROTTLED_FACTOR = 2.0, 12.0
JITTER = 0.2
# Long enough for a laptop that sleeps or changes its network.
MAX_FAILURE_S = 900.0


@dataclass
class Backoff:
    """Pauses of `base_s` seconds, times a factor that grows and a jitter of 20 %.

    The factor grows to `MAX_FACTOR` while nothing changes and to `MAX_THROTTLED_FACTOR` while polls
    fail. A change resets it.
    """

    base_s: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _factor: float = 1.0
    _failing_since: float | None = None
    _random: random.Random = field(default_factory=random.Random)

    def wait(self) -> None:
        """Sleep until the next poll."""
        self.sleep(self.base_s * self._factor * (1.0 + self._random.uniform(-JITTER, JITTER)))

    def succeeded(self, *, changed: bool) -> None:
        """Record a successful poll, and whether the resource changed since the last one."""
        self._failing_since = None
        self._factor = 1.0 if changed else min(max(1.0, self._factor) * GROWTH, MAX_FACTOR)

    def failed(self, error: EmrctlError) -> None:
        """Record a failed poll; raise `error` if polls have failed for `MAX_FAILURE_S`."""
        now = self.clock()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since > MAX_FAILURE_S:
            raise error
        self._factor = min(self._factor * THROTTLED_GROWTH, MAX_THROTTLED_FACTOR)


def poll_until(check: Callable[[], T], interval_s: float, timeout_s: float) -> T:
    """Call `check` every `interval_s` seconds; return its first true value.

    Return its last value on a timeout.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := check()) and time.monotonic() < deadline:
        time.sleep(interval_s)
    return value
