"""Dynamic allocation of a run: its properties, and how long executors took to register."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

_PREFIX = "spark.dynamicAllocation."
# YARN allocates containers and starts JVMs in about this time.
_USUAL_LATENCY_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Spark's dynamic allocation: limits and times, all from the properties of the run."""

    initial: int
    minimum: int
    backlog_s: float
    sustained_s: float
    idle_s: float
    tracks_shuffle: bool
    latency_s: float


def read(
    properties: Mapping[str, str], first_job_s: tuple[float, float], registered_s: Iterable[float]
) -> Allocation | None:
    """Return the settings in the properties of a run; None if the number of executors was fixed.

    `first_job_s` is when the first job started and ended, `registered_s` when executors did.
    """
    if properties.get(f"{_PREFIX}enabled", "false").lower() != "true":
        return None
    minimum = integer(properties, f"{_PREFIX}minExecutors", 0)
    instances = integer(properties, "spark.executor.instances", 0)
    initial = max(integer(properties, f"{_PREFIX}initialExecutors", minimum), instances, minimum)
    backlog_s = _seconds(properties, f"{_PREFIX}schedulerBacklogTimeout", 1.0)
    sustained_s = _seconds(properties, f"{_PREFIX}sustainedSchedulerBacklogTimeout", backlog_s)
    # Requests of the first job: one executor after `backlog_s`, then twice as many as before after
    # each `sustained_s`.
    start_s, end_s = first_job_s
    latencies = [
        at_s - start_s - backlog_s - sustained_s * int(math.log2(number))
        for number, at_s in enumerate(sorted(registered_s)[max(initial, 1) :], start=1)
        if start_s < at_s < end_s
    ]
    return Allocation(
        initial=initial,
        minimum=minimum,
        backlog_s=backlog_s,
        sustained_s=sustained_s,
        idle_s=_seconds(properties, f"{_PREFIX}executorIdleTimeout", 60.0),
        tracks_shuffle=properties.get("spark.shuffle.service.enabled", "false") != "true",
        latency_s=min(max(median(latencies), 0.2), 60.0) if latencies else _USUAL_LATENCY_S,
    )


def integer(properties: Mapping[str, str], name: str, default: int) -> int:
    """Return the value of a property that is a whole number, or `default`."""
    text = properties.get(name, "").strip()
    return int(text) if text.isdecimal() else default


_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(properties: Mapping[str, str], name: str, default: float) -> float:
    text = properties.get(name, "").strip().lower()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :] or "s"
    if not number.isdecimal() or unit not in _UNITS:
        return default
    return int(number) * _UNITS[unit]
