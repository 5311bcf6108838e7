"""How long to pause between two looks at the same thing, and how long to bear with silence.

EMR's calls draw from a bucket that the whole account shares. So nothing looks at a fixed beat,
pauses grow while nothing changes, and grow faster where AWS asks for it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from emrctl.errors import EmrctlError

T = TypeVar("T")

# A step that has just begun changes soon; one that has run for an hour does not.
GROWTH, SLOWEST = 1.1, 3.0
THROTTLED_GROWTH, MOST_THROTTLED = 2.0, 12.0
JITTER = 0.2
# A laptop that sleeps or changes its network comes back; credentials that expired do not.
PATIENCE_S = 900.0


@dataclass
class Pace:
    """Pauses around `base_s`, each a fifth shorter or longer by chance.

    They grow to `SLOWEST` times that while nothing changes, to `MOST_THROTTLED` times where AWS
    throttles, and start anew with every change.
    """

    base_s: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _factor: float = 1.0
    _silent_since: float | None = None
    _random: random.Random = field(default_factory=random.Random)

    def rest(self) -> None:
        """A pause has passed."""
        spread = 1.0 + self._random.uniform(-JITTER, JITTER)
        self.sleep(self.base_s * self._factor * spread)

    def saw(self, *, changed: bool) -> None:
        """Something was seen; the next pause is longer unless it had changed."""
        self._silent_since = None
        self._factor = 1.0 if changed else min(max(1.0, self._factor) * GROWTH, SLOWEST)

    def refused(self, error: EmrctlError) -> None:
        """Nothing could be seen; raises `error` once that has been so for `PATIENCE_S`."""
        now = self.clock()
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since > PATIENCE_S:
            raise error
        self._factor = min(self._factor * THROTTLED_GROWTH, MOST_THROTTLED)


def poll_until(check: Callable[[], T], interval_s: float, timeout_s: float) -> T:
    """Call `check` every `interval_s` seconds; return its first true value, or its last one.

    The last value is returned once `timeout_s` seconds are over.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := check()) and time.monotonic() < deadline:
        time.sleep(interval_s)
    return value
