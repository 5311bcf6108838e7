"""EMR's metrics in moto's CloudWatch: GetMetricData, GetMetricStatistics and ListMetrics."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from emrctl.emulator.cluster import cluster_metrics
from emrctl.emulator.cluster.cluster_metrics import MINUTE_S, MetricPoint, MetricStore
from emrctl.emulator.moto.patches import replaced

NAMESPACE, DIMENSION = "AWS/ElasticMapReduce", "JobFlowId"
# CloudWatch's limit for one request of GetMetricStatistics.
_MAX_POINTS = 1440


@contextlib.contextmanager
def install(store: MetricStore) -> Iterator[None]:
    """Serve the metrics in `store` beside those that users put."""
    from moto.cloudwatch.models import CloudWatchBackend

    metrics = _Metrics(store)
    with (
        replaced(CloudWatchBackend, "get_metric_data", metrics.get_metric_data),
        replaced(CloudWatchBackend, "get_metric_statistics", metrics.get_metric_statistics),
        replaced(CloudWatchBackend, "get_filtered_metrics", metrics.list_metrics),
    ):
        yield


@dataclass(frozen=True, kw_only=True)
class _Query:
    """One metric of a cluster over a time, in periods that begin at whole minutes."""

    region: str
    name: str
    dimensions: Iterable[dict[str, str]]
    start: dt.datetime
    end: dt.datetime
    period: int
    unit: str | None


@dataclass(frozen=True)
class _Metrics:
    """Replacements of moto's methods, which get the original and the backend of a region."""

    store: MetricStore

    def get_metric_data(
        self, original: Any, backend: Any, *, queries: list[dict[str, Any]], **window: Any
    ) -> list[dict[str, Any]]:
        """Return moto's results, and those of EMR's metrics, in the order of the queries."""
        for query in queries:
            _check_period(query.get("MetricStat", query).get("Period", MINUTE_S))
        others = [query for query in queries if _namespace(query) != NAMESPACE]
        # moto also checks the times.
        results = {one["id"]: one for one in original(backend, queries=others, **window)}
        for query in queries:
            if _namespace(query) == NAMESPACE and query.get("ReturnData", True):
                results[query["Id"]] = self._result(backend.region_name, query, window)
        return [results[query["Id"]] for query in queries if query["Id"] in results]

    def _result(self, region: str, query: dict[str, Any], window: dict[str, Any]) -> dict[str, Any]:
        asked = query["MetricStat"]
        metric, statistic = asked["Metric"], asked["Stat"]
        rows = self._statistics(
            _Query(
                region=region,
                name=metric["MetricName"],
                dimensions=metric.get("Dimensions", ()),
                start=window["start_time"],
                end=window["end_time"],
                period=int(asked["Period"]),
                unit=asked.get("Unit"),
            ),
            [statistic],
        )
        values = [(row.timestamp, row.get_statistics_for_type(statistic)) for row in rows]
        values = [(at, value) for at, value in values if value is not None]
        if window.get("scan_by") != "TimestampAscending":
            values.reverse()
        return {
            "id": query["Id"],
            "label": query.get("Label") or metric["MetricName"],
            "values": [value for _, value in values],
            "timestamps": [at for at, _ in values],
            "status_code": "Complete",
        }

    def get_metric_statistics(
        self,
        original: Any,
        backend: Any,
        namespace: str,
        metric_name: str,
        *rest: Any,
        **more: Any,
    ) -> list[Any]:
        """Return moto's data points, or those of one of EMR's metrics."""
        from moto.cloudwatch.exceptions import InvalidParameterCombination

        start, end, period, statistics = rest
        _check_period(period)
        if namespace != NAMESPACE:
            return list(original(backend, namespace, metric_name, *rest, **more))
        original(backend, namespace, metric_name, *rest, **more)  # checks the times
        count = int((end - start).total_seconds() // period)
        if count > _MAX_POINTS:
            raise InvalidParameterCombination(
                f"You have requested up to {count} datapoints, which exceeds the limit of "
                f"{_MAX_POINTS}. You may reduce the datapoints requested by increasing Period, or "
                "decreasing the time range."
            )
        query = _Query(
            region=backend.region_name,
            name=metric_name,
            dimensions=more["dimensions"] or (),
            start=start,
            end=end,
            period=period,
            unit=more.get("unit"),
        )
        return self._statistics(query, statistics)

    def list_metrics(
        self, original: Any, backend: Any, metric_name: str, namespace: str, dimensions: Any
    ) -> list[Any]:
        """Return moto's list of metrics and EMR's."""
        from moto.cloudwatch.models import MetricDatumBase

        metrics = list(original(backend, metric_name, namespace, dimensions))
        for cluster_id, name in self.store.names(backend.region_name):
            own = [{"Name": DIMENSION, "Value": cluster_id}]
            one = MetricDatumBase(NAMESPACE, name, own, None)
            if one.filter(namespace, name=metric_name, dimensions=dimensions):
                metrics.append(one)
        return metrics

    def _statistics(self, query: _Query, statistics: list[str]) -> list[Any]:
        """Return moto's `Statistics` of each period that has points, in order of time."""
        from moto.cloudwatch.models import Statistics

        names = {one["Name"]: one.get("Value") for one in query.dimensions}
        if names.keys() != {DIMENSION}:
            return []
        # CloudWatch rounds the start down to a whole minute, at which points are.
        start = query.start.replace(second=0, microsecond=0)
        zero, cluster_id = _epoch(start), str(names[DIMENSION])
        points = self.store.points(query.region, cluster_id, query.name, zero, _epoch(query.end))
        if points and query.unit not in (None, cluster_metrics.unit(query.name)):
            return []
        rows: dict[int, Any] = {}
        for point in points:
            number = int(point.at - zero) // query.period
            if number not in rows:
                at = start + dt.timedelta(seconds=number * query.period)
                rows[number] = Statistics(statistics, at, cluster_metrics.unit(query.name))
            rows[number].metric_data.append(_datum(query.name, point))
        return list(rows.values())


def _datum(name: str, point: MetricPoint) -> Any:
    from moto.cloudwatch.models import MetricAggregatedDatum

    return MetricAggregatedDatum(
        NAMESPACE, name, point.minimum, point.maximum, point.count, point.sum, [], None
    )


def _namespace(query: dict[str, Any]) -> str:
    return str(query.get("MetricStat", {}).get("Metric", {}).get("Namespace", ""))


def _check_period(period: Any) -> None:
    """Raise CloudWatch's error for a period that it does not have; moto never ends for 0."""
    from moto.cloudwatch.exceptions import InvalidParameterValue

    seconds = int(period)
    if seconds not in (1, 5, 10, 20, 30) and (seconds <= 0 or seconds % MINUTE_S):
        raise InvalidParameterValue(
            "The parameter Period must be a value in the set [ 1, 5, 10, 20, 30 ], or a multiple "
            "of 60."
        )


def _epoch(moment: dt.datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
