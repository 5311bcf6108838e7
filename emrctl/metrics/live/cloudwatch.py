"""CloudWatch metrics of an EMR cluster: YARN memory, containers and nodes over time.

EMR writes a point every five minutes; CloudWatch keeps them after the cluster has terminated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from emrctl.metrics.model import Record
from emrctl.metrics.timeline import Span

_NAMESPACE, _PERIOD_S = "AWS/ElasticMapReduce", 300
# EMR also writes metrics of MapReduce, which Spark does not affect.
METRICS: dict[str, str] = {
    "MemoryTotalMB": "Maximum",
    "MemoryAllocatedMB": "Average",
    "YARNMemoryAvailablePercentage": "Average",
    "ContainerAllocated": "Maximum",
    "ContainerPending": "Maximum",
    "AppsRunning": "Maximum",
    "AppsPending": "Maximum",
    "CoreNodesRunning": "Maximum",
    "TaskNodesRunning": "Maximum",
    "MRLostNodes": "Maximum",
    "MRUnhealthyNodes": "Maximum",
    "HDFSUtilization": "Maximum",
    "IsIdle": "Minimum",
}


@dataclass(frozen=True, kw_only=True)
class MetricSeries(Record):
    """One metric: `values` at `at_ms`, each over the five minutes from that time."""

    name: str
    statistic: str
    at_ms: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


def series(cloudwatch: Any, cluster_id: str, span: Span) -> tuple[MetricSeries, ...]:
    """Return the cluster's metrics in `span`; metrics without a point are left out.

    `cloudwatch` is a boto3 client. A run shorter than five minutes has one or two points.
    """
    queries = [
        {
            "Id": f"m{at}",
            "MetricStat": {
                "Metric": {
                    "Namespace": _NAMESPACE,
                    "MetricName": name,
                    "Dimensions": [{"Name": "JobFlowId", "Value": cluster_id}],
                },
                "Period": _PERIOD_S,
                "Stat": statistic,
            },
        }
        for at, (name, statistic) in enumerate(METRICS.items())
    ]
    # A point has the time at which its five minutes begin.
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries,
        StartTime=_moment(span[0] - _PERIOD_S * 1000),
        EndTime=_moment(span[1] + _PERIOD_S * 1000),
        ScanBy="TimestampAscending",
    )
    points: dict[str, list[tuple[int, float]]] = {}
    for page in pages:
        for result in page["MetricDataResults"]:
            pairs = zip(result["Timestamps"], result["Values"], strict=True)
            points.setdefault(result["Id"], []).extend(
                (round(at.timestamp() * 1000), float(value)) for at, value in pairs
            )
    return tuple(
        _series(at, points.get(f"m{at}", [])) for at in range(len(METRICS)) if points.get(f"m{at}")
    )


def _series(at: int, points: list[tuple[int, float]]) -> MetricSeries:
    name, statistic = list(METRICS.items())[at]
    return MetricSeries(
        name=name,
        statistic=statistic,
        at_ms=tuple(moment for moment, _ in sorted(points)),
        values=tuple(value for _, value in sorted(points)),
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
