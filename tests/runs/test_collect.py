"""Collection of data that AWS keeps for a limited time."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from emrctl.aws.target import Target
from emrctl.emulator.faults import SlowS3
from emrctl.emulator.server import control, state
from emrctl.runs import collect


def test_cloudwatch_series_reads_metrics_of_terminated_cluster(mocked: Target) -> None:
    client: Any = mocked.client("cloudwatch")
    start = datetime(2026, 11, 20, 10, tzinfo=UTC)
    client.put_metric_data(
        Namespace="AWS/ElasticMapReduce",
        MetricData=[
            {
                "MetricName": "ContainerAllocated",
                "Dimensions": [{"Name": "JobFlowId", "Value": "j-1"}],
                "Timestamp": start + timedelta(minutes=at),
                "Value": float(at),
            }
            for at in (0, 5, 10)
        ],
    )
    begin = round(start.timestamp() * 1000)
    [found] = collect.cloudwatch_series(client, "j-1", (begin, begin + 600_000))
    assert (found["name"], found["statistic"]) == ("ContainerAllocated", "Maximum")
    assert found["values"] == [0.0, 5.0, 10.0]
    assert found["at_ms"][0] == begin
    assert collect.cloudwatch_series(client, "j-2", (begin, begin + 600_000)) == []


def test_fault_warnings_name_the_active_faults(instances: Target) -> None:
    assert instances.token_file is not None
    info = state.read(instances.token_file.parent)
    assert info is not None
    workspace: Any = SimpleNamespace(target=instances)
    assert collect.fault_warnings(workspace) == ()
    control.add_fault(info, SlowS3(delay=0.5, seconds=3600))
    try:
        warnings = collect.fault_warnings(workspace)
    finally:
        control.clear_faults(info)
    assert warnings == ("the fault slow-s3 delay=0.5 was active on localhost",)
    stopped = dataclasses.replace(instances, endpoint="http://127.0.0.1:9")
    assert collect.fault_warnings(SimpleNamespace(target=stopped)) == ()  # type: ignore[arg-type]
