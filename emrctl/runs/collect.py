"""Data that exists only for a limited time: YARN's accounts, instances, CloudWatch metrics.

Cluster managers forget applications and are lost with their cluster. EMR lists the instances of a
cluster for two months, EC2 for an hour; CloudWatch keeps metrics longer.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emrctl.cost import instance_usd
from emrctl.runs.record import Run
from emrctl.runs.store import RunFiles
from emrctl.runs.workspace import Workspace

if TYPE_CHECKING:
    from emrctl.metrics.model import ClusterAccount, YarnAccounts
    from emrctl.metrics.timeline import Span


_PERIOD_S = 300
# EMR also writes metrics of MapReduce, which Spark does not affect.
_CLOUDWATCH_METRICS = {
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


def collect_yarn(workspace: Workspace, run: Run) -> YarnAccounts | None:
    """Store and return the manager's accounts of the application and the cluster.

    Accounts that were stored before are kept. If the manager does not respond, store CloudWatch's
    metrics of an EMR cluster instead and return None.
    """
    from emrctl.metrics.model import YarnAccounts

    files = workspace.store.files(run.id)
    stored = files.load(RunFiles.YARN, YarnAccounts)
    if stored is not None or run.application_id is None:
        return stored
    manager = workspace.adapter(run.cluster.id).live_sources(run.cluster).manager
    application, cluster = manager.application(run.application_id), manager.cluster()
    if application is None or cluster is None:
        _collect_cloudwatch(workspace, run)
        return None
    accounts = YarnAccounts(application=application, cluster=cluster)
    files.write_json(RunFiles.YARN, accounts.to_json())
    _add_last_sample(files, cluster)
    return accounts


def _add_last_sample(files: RunFiles, cluster: ClusterAccount) -> None:
    from emrctl.metrics.live import nodes

    samples = nodes.Samples(0, nodes.read(files.find(RunFiles.NODE_SAMPLES)))
    samples.add(nodes.sample(int(time.time() * 1000), cluster))
    files.write(RunFiles.NODE_SAMPLES, samples.lines())


def _collect_cloudwatch(workspace: Workspace, run: Run) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    span = _span(run)
    if span is None or not workspace.adapter(run.cluster.id).is_emr:
        return
    try:
        series = cloudwatch_series(workspace.target.client("cloudwatch"), run.cluster.id, span)
    except (BotoCoreError, ClientError):
        return
    if series:
        workspace.store.files(run.id).write_json(RunFiles.CLOUDWATCH, {"series": series})


def cloudwatch_series(cloudwatch: Any, cluster_id: str, span: Span) -> list[dict[str, Any]]:
    """Return EMR's metrics of the cluster in `span`, without those that have no point.

    `cloudwatch` is a boto3 client. EMR writes a point every five minutes, with the time at which
    they begin in `at_ms`: a run shorter than that has one or two points.
    """
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[_query(name, cluster_id) for name in _CLOUDWATCH_METRICS],
        StartTime=datetime.fromtimestamp(span[0] / 1000 - _PERIOD_S, UTC),
        EndTime=datetime.fromtimestamp(span[1] / 1000 + _PERIOD_S, UTC),
    )
    points: dict[str, dict[int, float]] = {f"m{name}": {} for name in _CLOUDWATCH_METRICS}
    for page in pages:
        for result in page["MetricDataResults"]:
            moments = (round(at.timestamp() * 1000) for at in result["Timestamps"])
            points[result["Id"]] |= dict(zip(moments, map(float, result["Values"]), strict=True))
    return [
        {
            "name": name,
            "statistic": statistic,
            "at_ms": sorted(points[f"m{name}"]),
            "values": [value for _, value in sorted(points[f"m{name}"].items())],
        }
        for name, statistic in _CLOUDWATCH_METRICS.items()
        if points[f"m{name}"]
    ]


def _query(name: str, cluster_id: str) -> dict[str, Any]:
    metric = {
        "Namespace": "AWS/ElasticMapReduce",
        "MetricName": name,
        "Dimensions": [{"Name": "JobFlowId", "Value": cluster_id}],
    }
    statistic = {"Metric": metric, "Period": _PERIOD_S, "Stat": _CLOUDWATCH_METRICS[name]}
    return {"Id": f"m{name}", "MetricStat": statistic}


def fault_warnings(workspace: Workspace) -> tuple[str, ...]:
    """Return a warning for each fault that the user has activated on localhost."""
    faults = workspace.target.active_faults()
    return tuple(f"the fault {text} was active on localhost" for text in faults)


def collect_instances(workspace: Workspace, run: Run) -> float | None:
    """Store the cluster's instances and return their cost during the run in USD, None if unknown.

    The cost is computed from the lifetime of each instance.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from emrctl.metrics.live.nodes import cost_usd

    span = _span(run)
    if span is None:
        return None
    adapter = workspace.adapter(run.cluster.id)
    try:
        instances = adapter.list_instances(run.cluster.id)
    except (BotoCoreError, ClientError, KeyError, NotImplementedError):
        return None
    if not instances:
        return None

    def hourly_usd(type_: str, spot: bool) -> float | None:
        return instance_usd(type_, workspace.target.region, emr=adapter.is_emr, spot=spot)

    usd = cost_usd(instances, span, hourly_usd)
    document = {"instances": [item.to_json() for item in instances], "cost_usd": usd}
    workspace.store.files(run.id).write_json(RunFiles.INSTANCES, document)
    return usd


def _span(run: Run) -> Span | None:
    if run.started is None or run.ended is None:
        return None
    start, end = (datetime.fromisoformat(moment) for moment in (run.started, run.ended))
    return round(start.timestamp() * 1000), round(end.timestamp() * 1000)


def nodes_used(workspace: Workspace, run: Run) -> list[dict[str, Any]]:
    """Return the use of each node during the run, [] if it was not sampled."""
    from emrctl.metrics.live import nodes

    samples = nodes.read(workspace.store.files(run.id).find(RunFiles.NODE_SAMPLES))
    return [item.to_json() for item in nodes.use(samples)]
