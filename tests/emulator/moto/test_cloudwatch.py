from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from emrctl.emulator.api.service import Service
from emrctl.runs import collect
from tests.emulator.conftest import Await, Emr, add, status
from tests.emulator.fake_runtime import FakeRuntime

START = datetime(2026, 11, 20, 10, 0, 40, tzinfo=UTC)
MEMORY = {"totalMB": 24576.0, "availableMB": 12288.0}


@pytest.fixture
def sampled(service: Service, waiting: str) -> str:
    """Add samples 0, 30, 60, …, 570 s after `START`; return the cluster's id."""
    cluster = service.clusters[waiting]
    for number in range(20):
        at = START.timestamp() + 30 * number
        service.metrics.add(cluster, at, {"ContainerAllocated": float(number), "IsIdle": 0.0})
    return waiting


def metric(name: str, cluster_id: str) -> dict[str, Any]:
    return {
        "Namespace": "AWS/ElasticMapReduce",
        "MetricName": name,
        "Dimensions": [{"Name": "JobFlowId", "Value": cluster_id}],
    }


def query(name: str, cluster_id: str, statistic: str, period: int) -> dict[str, Any]:
    stat = {"Metric": metric(name, cluster_id), "Period": period, "Stat": statistic}
    return {"Id": f"q{name.lower()}", "MetricStat": stat}


def test_get_metric_statistics_returns_points_of_whole_minutes(
    mocked: Target, sampled: str
) -> None:
    answer = mocked.client("cloudwatch").get_metric_statistics(
        **metric("ContainerAllocated", sampled),
        StartTime=START,
        EndTime=START + timedelta(minutes=9),
        Period=300,
        Statistics=["Minimum", "Maximum", "Average", "SampleCount", "Sum"],
    )
    first, second = sorted(answer["Datapoints"], key=lambda one: one["Timestamp"])
    begin = START.replace(second=0)
    # 10:00:40, 10:01:10, …, 10:04:40 are in the first five minutes.
    assert first == {
        "Timestamp": begin,
        "Minimum": 0,
        "Maximum": 8,
        "Average": 4,
        "SampleCount": 9,
        "Sum": 36,
        "Unit": "Count",
    }
    assert (second["Timestamp"], second["Minimum"]) == (begin + timedelta(minutes=5), 9)


def test_get_metric_data_returns_metrics_in_order_of_queries(mocked: Target, sampled: str) -> None:
    client = mocked.client("cloudwatch")
    now = datetime.now(UTC)
    data = [{"MetricName": "Loss", "Value": 0.5, "Timestamp": START}]
    client.put_metric_data(Namespace="mine", MetricData=data)
    own = {"Metric": {"Namespace": "mine", "MetricName": "Loss"}, "Period": 60, "Stat": "Maximum"}
    results = client.get_metric_data(
        MetricDataQueries=[
            query("IsIdle", sampled, "Minimum", 600),
            {"Id": "loss", "MetricStat": own},
            query("ContainerAllocated", sampled, "Maximum", 120),
            query("AppsRunning", "j-NONE", "Maximum", 60),
        ],
        StartTime=START - timedelta(seconds=10),
        EndTime=now,
        ScanBy="TimestampAscending",
    )["MetricDataResults"]
    assert [one["Id"] for one in results] == [
        "qisidle",
        "loss",
        "qcontainerallocated",
        "qappsrunning",
    ]
    assert results[0]["Values"][0] == 0
    assert results[1]["Values"] == [0.5]
    assert results[2]["Values"] == [2, 6, 10, 14, 18, 19]
    assert results[2]["Timestamps"][:2] == [
        START.replace(second=0),
        START.replace(second=0) + timedelta(minutes=2),
    ]
    assert results[3]["Values"] == []


def test_metrics_of_users_are_matched_by_all_dimensions_over_any_time(
    mocked: Target, sampled: str
) -> None:
    client = mocked.client("cloudwatch")
    for job, value in (("a", 1.0), ("a", 3.0), ("b", 9.0)):
        dimensions = [{"Name": "job", "Value": job}, {"Name": "run", "Value": "1"}]
        data = {"MetricName": "Loss", "Value": value, "Timestamp": START, "Dimensions": dimensions}
        client.put_metric_data(Namespace="mine", MetricData=[data])
    window = {"StartTime": datetime(1970, 1, 2, tzinfo=UTC), "EndTime": datetime.now(UTC)}

    def average(*names: str) -> list[float]:
        values = {"job": "a", "run": "1"}
        own = {
            "Namespace": "mine",
            "MetricName": "Loss",
            "Dimensions": [{"Name": name, "Value": values[name]} for name in names],
        }
        queries = [
            {"Id": "q", "MetricStat": {"Metric": own, "Period": 60, "Stat": "Average"}},
            {"Id": "same", "Expression": "q"},
        ]
        results = client.get_metric_data(MetricDataQueries=queries, **window)["MetricDataResults"]
        assert results[0]["Values"] == results[1]["Values"]
        return [float(value) for value in results[0]["Values"]]

    assert average("run", "job") == [2.0]
    assert average("job") == []


def test_list_metrics_lists_metrics_of_each_cluster(mocked: Target, sampled: str) -> None:
    client = mocked.client("cloudwatch")
    rows = client.list_metrics(Namespace="AWS/ElasticMapReduce", MetricName="IsIdle")["Metrics"]
    assert rows == [metric("IsIdle", sampled)]
    dimension = [{"Name": "JobFlowId", "Value": sampled}]
    names = {one["MetricName"] for one in client.list_metrics(Dimensions=dimension)["Metrics"]}
    assert {"IsIdle", "ContainerAllocated"} <= names
    assert client.list_metrics(Namespace="AWS/EC2")["Metrics"] == []


@pytest.mark.parametrize(
    ("period", "minutes", "code"),
    [
        (90, 10, "InvalidParameterValue"),
        (60, 1441, "InvalidParameterCombination"),
        (60, -1, "InvalidParameterValue"),
    ],
)
def test_get_metric_statistics_rejects_what_cloudwatch_rejects(
    mocked: Target, sampled: str, period: int, minutes: int, code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        mocked.client("cloudwatch").get_metric_statistics(
            **metric("IsIdle", sampled),
            StartTime=START,
            EndTime=START + timedelta(minutes=minutes),
            Period=period,
            Statistics=["Maximum"],
        )
    assert caught.value.response["Error"]["Code"] == code


def test_short_cluster_has_points_for_records_of_runs(
    emr: Emr, mocked: Target, runtime: FakeRuntime, waiting: str, until: Await
) -> None:
    runtime.yarn = MEMORY
    step = add(emr, waiting, "spark-submit", "a.py")
    until(lambda: status(emr, waiting, step)["State"], "COMPLETED")
    now = datetime.now(UTC).timestamp() * 1000
    client = mocked.client("cloudwatch")

    def series() -> dict[str, list[float]]:
        rows = collect.cloudwatch_series(client, waiting, (round(now), round(now) + 1000))
        return {one["name"]: one["values"] for one in rows}

    until(lambda: "MemoryTotalMB" in series(), True)
    assert series()["MemoryTotalMB"] == [24576]
    assert series()["YARNMemoryAvailablePercentage"] == [50]
    assert series()["CoreNodesRunning"] == [2]
