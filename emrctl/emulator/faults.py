"""Faults on request: errors and delays of AWS for users who test their jobs and clients.

Faults are off until they are added, live in the emulator's process and end with it.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from emrctl.aws import instance_types
from emrctl.errors import UsageError

#: Markets of EC2 instances.
MARKETS = ("on-demand", "spot")
#: Services whose requests can be throttled, and their names in signatures.
SERVICES = {"emr": "elasticmapreduce", "s3": "s3", "ec2": "ec2"}
INSUFFICIENT_CAPACITY, TYPE_NOT_SUPPORTED = "insufficient-capacity", "type-not-supported"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, which ends after it affected `times` requests or clusters, or after `seconds`."""

    kind: ClassVar[str]
    times: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` for a value out of range."""
        self._check_range("times", 1, 1_000_000)
        self._check_range("seconds", 0.001, 1e6)

    @property
    def name(self) -> str:
        """What another fault replaces if it has the same name."""
        return self.kind

    @property
    def settings(self) -> dict[str, Any]:
        """The values that are set, without those of the fault's end."""
        values = dataclasses.asdict(self)
        ends = ("times", "seconds")
        return {k: v for k, v in values.items() if k not in ends and v not in (None, "")}

    @property
    def text(self) -> str:
        """The kind and the settings in one line."""
        return " ".join((self.kind, *(f"{key}={value}" for key, value in self.settings.items())))

    def affects(self, seen: int) -> bool:
        """Whether the fault affects request or cluster number `seen`, from 1."""
        return seen > 0

    def _check_range(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and low <= value <= high):
            raise UsageError(f"{self.kind}: {name} must be from {low:g} to {high:g}, not {value!r}")

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            given = getattr(self, name)
            raise UsageError(f"{self.kind}: {name} must be {' or '.join(choices)}, not {given!r}")


@dataclass(frozen=True, kw_only=True)
class Throttle(Fault):
    """AWS's throttling error for a share of the requests to a service, or to all three."""

    kind = "throttle"
    percent: int
    service: str = ""

    def __post_init__(self) -> None:
        """Raise `UsageError` for a value out of range."""
        super().__post_init__()
        self._check_range("percent", 1, 100)
        self._check_choice("service", ("", *SERVICES))

    @property
    def name(self) -> str:
        """One for each service."""
        return f"{self.kind} {self.service}".strip()

    def affects(self, seen: int) -> bool:
        """Whether the request gets the error: evenly spread, the same ones every time."""
        return seen * self.percent // 100 > (seen - 1) * self.percent // 100


@dataclass(frozen=True, kw_only=True)
class SlowS3(Fault):
    """A delay of every request to S3, and the bandwidth of each of its connections."""

    kind = "slow-s3"
    delay: float = 0.0
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` for a value out of range, or if both have no effect."""
        super().__post_init__()
        self._check_range("delay", 0, 600)
        self._check_range("bandwidth", 0.001, 100_000)
        if not self.delay and self.bandwidth is None:
            raise UsageError(f"{self.kind}: no delay and no bandwidth", hint="Add --delay 0.5.")


@dataclass(frozen=True, kw_only=True)
class BootstrapFailure(Fault):
    """An exit code of a bootstrap action on the primary node of the next cluster that has one."""

    kind = "bootstrap-failure"
    times: int | None = 1
    exit_code: int = 1
    action: int = 1

    def __post_init__(self) -> None:
        """Raise `UsageError` for a value out of range."""
        super().__post_init__()
        self._check_range("exit_code", 1, 255)
        self._check_range("action", 1, 16)


@dataclass(frozen=True, kw_only=True)
class Capacity(Fault):
    """EC2 cannot launch the instances of the next cluster, resize or RunInstances.

    By default of all types in both markets.
    """

    kind = "capacity"
    times: int | None = 1
    reason: str = INSUFFICIENT_CAPACITY
    instance_type: str = ""
    market: str = ""

    def __post_init__(self) -> None:
        """Raise `UsageError` for an unknown reason, instance type or market."""
        super().__post_init__()
        self._check_choice("reason", (INSUFFICIENT_CAPACITY, TYPE_NOT_SUPPORTED))
        self._check_choice("market", ("", *MARKETS))
        if not isinstance(self.instance_type, str):
            raise UsageError(f"{self.kind}: instance_type must be a string")
        if self.instance_type:
            instance_types.instance_type(self.instance_type)

    @property
    def name(self) -> str:
        """One for each instance type and market."""
        return " ".join(filter(None, (self.kind, self.instance_type, self.market)))

    def concerns(self, instance_type: str, market: str) -> bool:
        """Whether the fault is one of this instance type in this market (EC2's, lower case)."""
        same_type = self.instance_type in ("", instance_type)
        return same_type and self.market in ("", market.lower().replace("_", "-"))


KINDS: Mapping[str, type[Fault]] = {
    kind.kind: kind for kind in (Throttle, SlowS3, BootstrapFailure, Capacity)
}
_F = TypeVar("_F", bound=Fault)


def check_kind(kind: str) -> None:
    """Raise `UsageError` for an unknown kind."""
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is no kind of fault", hint=f"Kinds: {', '.join(KINDS)}.")


def from_document(document: Any) -> Fault:
    """Return the fault of `{"kind": …}` with its settings; raises `UsageError`."""
    if not isinstance(document, dict):
        raise UsageError("a fault must be a JSON object")
    check_kind(str(document.get("kind")))
    values = {key: value for key, value in document.items() if key != "kind"}
    try:
        return KINDS[document["kind"]](**values)
    except TypeError as error:  # a missing or an unknown setting
        raise UsageError(f"{document['kind']}: {error}") from error


@dataclass(kw_only=True)
class _ActiveFault:
    fault: Fault
    ends: float | None
    seen: int = 0
    affected: int = 0


@dataclass(eq=False)
class Faults:
    """The active faults of an emulator; `clock` returns seconds."""

    clock: Callable[[], float] = time.monotonic
    _active: dict[str, _ActiveFault] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        """Activate a fault, instead of one with the same name."""
        ends = None if fault.seconds is None else self.clock() + fault.seconds
        with self._lock:
            self._active[fault.name] = _ActiveFault(fault=fault, ends=ends)

    def clear(self, kind: str = "") -> int:
        """End all faults, or those of a kind; return how many were active."""
        with self._lock:
            self._drop_expired()
            names = [n for n, one in self._active.items() if kind in ("", one.fault.kind)]
            for name in names:
                del self._active[name]
        return len(names)

    def take(self, kind: type[_F], applies: Callable[[_F], bool] = lambda _: True) -> _F | None:
        """Return the active fault that affects this request or cluster, and count it; or None."""
        if not self._active:  # for every request to S3
            return None
        with self._lock:
            self._drop_expired()
            for name, one in self._active.items():
                fault = one.fault
                if not isinstance(fault, kind) or not applies(fault):
                    continue
                one.seen += 1
                if not fault.affects(one.seen):
                    continue
                one.affected += 1
                if one.affected == fault.times:
                    del self._active[name]
                return fault
        return None

    def describe(self) -> list[dict[str, Any]]:
        """Return the active faults: kind, settings, counts and when they end."""
        with self._lock:
            self._drop_expired()
            return [self._describe(one) for one in self._active.values()]

    def _describe(self, one: _ActiveFault) -> dict[str, Any]:
        left = None if one.fault.times is None else one.fault.times - one.affected
        return {
            "kind": one.fault.kind,
            "settings": one.fault.settings,
            "text": one.fault.text,
            "seen": one.seen,
            "affected": one.affected,
            "times_left": left,
            "seconds_left": None if one.ends is None else round(one.ends - self.clock(), 3),
        }

    def _drop_expired(self) -> None:
        now = self.clock()
        for name, one in list(self._active.items()):
            if one.ends is not None and one.ends <= now:
                del self._active[name]
