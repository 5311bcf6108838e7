"""CloudWatch with EMR's metrics: GetMetricData, GetMetricStatistics and ListMetrics."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.emulator.cluster import cluster_metrics
from emrctl.emulator.cluster.cluster_metrics import MINUTE_S, NAMESPACE, MetricStore
from emrctl.emulator.moto.patches import replaced

DIMENSION = "JobFlowId"
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
    """One metric over a time, in periods that begin at whole minutes."""

    namespace: str
    name: str
    dimensions: Iterable[Mapping[str, str]]
    start: dt.datetime
    end: dt.datetime
    period: int
    unit: str | None

    @property
    def names(self) -> dict[str, str]:
        """Values of the dimensions by name."""
        return {one["Name"]: str(one.get("Value")) for one in self.dimensions}

    @property
    def begin(self) -> dt.datetime:
        """The start, rounded down to a whole minute as CloudWatch does."""
        return self.start.replace(second=0, microsecond=0)


@dataclass(frozen=True)
class _Metrics:
    """Replacements of moto's methods, which get the original and the backend of a region.

    moto's own begin periods at any second, and look at every period of the requested time.
    """

    store: MetricStore

    def get_metric_data(
        self, original: Any, backend: Any, *, queries: list[dict[str, Any]], **window: Any
    ) -> list[dict[str, Any]]:
        """Return the results of metrics, and moto's of expressions, in the order of the queries."""
        from moto.cloudwatch.metric_data_expression_parser import parse_expression

        original(backend, queries=[], **window)  # checks the times
        known = [self._result(backend, one, window) for one in queries if "MetricStat" in one]
        results = {one["id"]: one for one in known}
        for query in queries:
            if "MetricStat" in query:
                continue
            if query["Expression"].startswith("SELECT"):
                results |= {one["id"]: one for one in original(backend, queries=[query], **window)}
                continue
            values, timestamps = parse_expression(query["Expression"], known)
            results[query["Id"]] = _answer(query, query["Id"], zip(timestamps, values, strict=True))
        shown = [query["Id"] for query in queries if query.get("ReturnData", True)]
        return [results[name] for name in shown]

    def _result(
        self, backend: Any, query: dict[str, Any], window: dict[str, Any]
    ) -> dict[str, Any]:
        asked = query["MetricStat"]
        metric, statistic = asked["Metric"], asked["Stat"]
        rows = self._statistics(
            backend,
            _Query(
                namespace=metric["Namespace"],
                name=metric["MetricName"],
                dimensions=metric.get("Dimensions", ()),
                start=window["start_time"],
                end=window["end_time"],
                period=_checked_period(asked["Period"]),
                unit=asked.get("Unit"),
            ),
            [statistic],
        )
        pairs = [(row.timestamp, row.get_statistics_for_type(statistic)) for row in rows]
        if window.get("scan_by") != "TimestampAscending":
            pairs.reverse()
        return _answer(query, metric["MetricName"], pairs)

    def get_metric_statistics(
        self,
        _original: Any,
        backend: Any,
        namespace: str,
        metric_name: str,
        *rest: Any,
        **more: Any,
    ) -> list[Any]:
        """Return the data points of a metric."""
        from moto.cloudwatch import exceptions

        start, end, period, statistics = rest
        if start >= end:
            raise exceptions.InvalidParameterValue(
                "The parameter StartTime must be less than the parameter EndTime."
            )
        count = int((end - start).total_seconds() // _checked_period(period))
        if count > _MAX_POINTS:
            raise exceptions.InvalidParameterCombination(
                f"You have requested up to {count} datapoints, which exceeds the limit of "
                f"{_MAX_POINTS}. You may reduce the datapoints requested by increasing Period, or "
                "decreasing the time range."
            )
        query = _Query(
            namespace=namespace,
            name=metric_name,
            dimensions=more["dimensions"] or (),
            start=start,
            end=end,
            period=period,
            unit=more.get("unit"),
        )
        return self._statistics(backend, query, statistics)

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

    def _statistics(self, backend: Any, query: _Query, statistics: list[str]) -> list[Any]:
        """Return moto's `Statistics` of each period that has points, in order of time."""
        from moto.cloudwatch.models import Statistics

        data = [*self._points(backend.region_name, query), *_put_by_users(backend, query)]
        zero, end = _epoch(query.begin), _epoch(query.end)
        rows: dict[int, Any] = {}
        for at, datum in sorted(data, key=lambda one: one[0]):
            if not zero <= at < end or query.unit not in (None, datum.unit):
                continue
            number = int(at - zero) // query.period
            if number not in rows:
                begin = query.begin + dt.timedelta(seconds=number * query.period)
                rows[number] = Statistics(statistics, begin, datum.unit)
            rows[number].metric_data.append(datum)
        return list(rows.values())

    def _points(self, region: str, query: _Query) -> Iterator[tuple[float, Any]]:
        """Yield EMR's points of the query with their times."""
        from moto.cloudwatch.models import MetricAggregatedDatum

        if query.namespace != NAMESPACE or query.names.keys() != {DIMENSION}:
            return
        times = _epoch(query.begin), _epoch(query.end)
        for one in self.store.points(region, query.names[DIMENSION], query.name, *times):
            statistics = (one.minimum, one.maximum, one.count, one.sum)
            unit = cluster_metrics.unit(query.name)
            yield one.at, MetricAggregatedDatum(NAMESPACE, query.name, *statistics, [], None, unit)


def _put_by_users(backend: Any, query: _Query) -> Iterator[tuple[float, Any]]:
    """Yield the points of the query in moto, with their times."""
    for one in backend.get_all_metrics():
        if (one.namespace, one.name) == (query.namespace, query.name) and query.names == {
            dimension.name: dimension.value for dimension in one.dimensions
        }:
            yield _epoch(one.timestamp), one


def _answer(
    query: dict[str, Any], label: str, pairs: Iterable[tuple[dt.datetime, Any]]
) -> dict[str, Any]:
    """Return a result of GetMetricData, without points that have no such statistic."""
    known = [(at, value) for at, value in pairs if value is not None]
    return {
        "id": query["Id"],
        "label": query.get("Label") or label,
        "values": [value for _, value in known],
        "timestamps": [at for at, _ in known],
        "status_code": "Complete",
    }


def _checked_period(period: Any) -> int:
    """Return the period in seconds; raise CloudWatch's error for one that it does not have."""
    from moto.cloudwatch.exceptions import InvalidParameterValue

    seconds = int(period)
    if seconds not in (1, 5, 10, 20, 30) and (seconds <= 0 or seconds % MINUTE_S):
        raise InvalidParameterValue(
            "The parameter Period must be a value in the set [ 1, 5, 10, 20, 30 ], or a multiple "
            "of 60."
        )
    return seconds


def _epoch(moment: dt.datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
