"""What YARN or a standalone master, EMR and CloudWatch booked for a run, before they forget.

Managers forget applications, and all of it ends with their cluster; EMR keeps a cluster's
instances for two months, EC2 for an hour, CloudWatch its figures for longer.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from emrctl.aws import prices
from emrctl.runs.progress import NODES
from emrctl.runs.sources import places

if TYPE_CHECKING:
    from emrctl.metrics.live.instances import InstanceUse
    from emrctl.metrics.model import ClusterAccount
    from emrctl.metrics.timeline import Span
    from emrctl.runs.store import Run
    from emrctl.runs.workspace import Workspace

YARN, INSTANCES, CLOUDWATCH = "yarn.json", "instances.json", "cloudwatch.json"


def collect_yarn(workspace: Workspace, run: Run) -> dict[str, Any]:
    """The manager's account of the application and the cluster, before it forgets.

    What was read at the first pull is kept: the cluster may be gone at the second. Where nobody
    answers any more, what CloudWatch kept of an EMR cluster is stored instead.
    """
    known = workspace.store.get_json(run.id, YARN)
    if known is not None or run.application_id is None:
        return known or {}
    manager = places(workspace, run).manager
    application, cluster = manager.application(run.application_id), manager.cluster()
    if application is None or cluster is None:
        if run.cluster.kind == "emr":
            _collect_cloudwatch(workspace, run)
        return {}
    found = {"application": application.to_json(), "cluster": cluster.to_json()}
    workspace.store.put(run.id, YARN, json.dumps(found).encode())
    _last_sample(workspace, run, cluster)
    return found


def _last_sample(workspace: Workspace, run: Run, cluster: ClusterAccount) -> None:
    """The nodes as they are at the run's end follow the samples that were taken meanwhile."""
    from emrctl.metrics.live import nodes

    samples = nodes.Samples(0, nodes.read(workspace.store.get(run.id, NODES)))
    samples.add(nodes.sample(int(time.time() * 1000), cluster))
    workspace.store.put(run.id, NODES, samples.lines())


def _collect_cloudwatch(workspace: Workspace, run: Run) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    from emrctl.metrics.live import cloudwatch

    span = _span(run)
    if span is None:
        return
    try:
        client = workspace.target.client("cloudwatch")
        found = cloudwatch.series(client, run.cluster.id, span)
    except (BotoCoreError, ClientError):
        return
    if found:
        document = {"series": [item.to_json() for item in found]}
        workspace.store.put(run.id, CLOUDWATCH, json.dumps(document).encode())


def collect_instances(workspace: Workspace, run: Run) -> float | None:
    """The cluster's instances are stored with the run; what its time of them cost, where known.

    By their real lives: nodes that came late, or went, count for as long as they were there.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from emrctl.metrics.live import instances

    span = _span(run)
    if span is None:
        return None
    try:
        found = _instances(workspace, run)
    except (BotoCoreError, ClientError, KeyError, NotImplementedError):
        return None
    if not found:
        return None
    region = workspace.target.region
    fee = run.cluster.kind == "emr"
    usd = instances.cost_usd(found, span, lambda name, spot: _hourly_usd(name, region, spot, fee))
    document = {"instances": [item.to_json() for item in found], "cost_usd": usd}
    workspace.store.put(run.id, INSTANCES, json.dumps(document).encode())
    return usd


def _hourly_usd(name: str, region: str, spot: bool, fee: bool) -> float:
    own = prices.rate(name, region)
    ec2 = own.spot_usd if spot and own.spot_usd is not None else own.ec2_usd
    return ec2 + (own.emr_usd if fee else 0.0)


def _instances(workspace: Workspace, run: Run) -> tuple[InstanceUse, ...]:
    from emrctl.metrics.live import instances

    target, cluster_id = workspace.target, run.cluster.id
    if run.cluster.kind == "ec2":
        return instances.list_ec2_instances(target.client("ec2"), cluster_id)
    return instances.list_emr_instances(target.client("emr"), cluster_id)


def _span(run: Run) -> Span | None:
    if run.started is None or run.ended is None:
        return None
    begin, end = (datetime.fromisoformat(moment) for moment in (run.started, run.ended))
    return round(begin.timestamp() * 1000), round(end.timestamp() * 1000)


def nodes_used(workspace: Workspace, run: Run) -> list[dict[str, Any]]:
    """What each node was used for while the run was watched; empty where it never was."""
    from emrctl.metrics.live import nodes

    return [item.to_json() for item in nodes.use(nodes.read(workspace.store.get(run.id, NODES)))]
