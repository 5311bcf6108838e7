"""Dynamic allocation of a run: its properties, and how long executors took to register."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from emrctl.aws.spark_conf import SparkConf

_PREFIX = "spark.dynamicAllocation."
# YARN allocates containers and starts JVMs in about this time.
_USUAL_LATENCY_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Spark's dynamic allocation: limits and times, all from the properties of the run.

    `requests` are those of the first job: when, and how long it took the executor to register.
    """

    initial: int
    minimum: int
    backlog_s: float
    sustained_s: float
    idle_s: float
    tracks_shuffle: bool
    latency_s: float
    requests: tuple[tuple[float, float], ...] = ()


def read(
    conf: SparkConf, first_job_s: tuple[float, float], registered_s: Iterable[float]
) -> Allocation | None:
    """Return the settings in the properties of a run; None if the number of executors was fixed.

    `first_job_s` is when the first job started and ended, `registered_s` when executors did, both
    since the start of the application.
    """
    if not conf.dynamic:
        return None
    initial = conf.requested_executors or 0
    backlog_s = conf.seconds(f"{_PREFIX}schedulerBacklogTimeout", 1.0)
    sustained_s = conf.seconds(f"{_PREFIX}sustainedSchedulerBacklogTimeout", backlog_s)
    # Requests of the first job: one executor after `backlog_s`, then twice as many as before after
    # each `sustained_s`.
    start_s, end_s = first_job_s
    ordered = sorted(registered_s)
    arrivals_s = [at_s for at_s in ordered[initial:] if start_s < at_s < end_s]
    requests: list[tuple[float, float]] = []
    for number, at_s in enumerate(arrivals_s, start=1):
        request_s = start_s + backlog_s + sustained_s * int(math.log2(number))
        requests.append((request_s, at_s - request_s))
    # The first executor was requested between the start of the application and the first job.
    latencies = [latency_s for _, latency_s in requests]
    usual_s = min([at_s - min(start_s, at_s) / 2 for at_s in ordered[:1]] + [_USUAL_LATENCY_S])
    latency_s = median(latencies) if latencies else usual_s
    return Allocation(
        initial=initial,
        minimum=conf.number(f"{_PREFIX}minExecutors") or 0,
        backlog_s=backlog_s,
        sustained_s=sustained_s,
        idle_s=conf.seconds(f"{_PREFIX}executorIdleTimeout", 60.0),
        tracks_shuffle=not conf.on("spark.shuffle.service.enabled"),
        latency_s=min(max(latency_s, 0.2), 60.0),
        requests=tuple(requests),
    )
