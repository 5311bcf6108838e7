"""What YARN, EMR and CloudWatch booked for a run, stored with it before they forget.

The resource manager forgets applications, and all of it ends with its cluster; EMR keeps a
cluster's instances for two months, CloudWatch its figures for longer.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from emrctl import prices
from emrctl.progress import NODES, places

if TYPE_CHECKING:
    from emrctl.metrics.model import ClusterAccount
    from emrctl.metrics.timeline import Span
    from emrctl.store import Run
    from emrctl.workspace import Workspace

YARN, INSTANCES, CLOUDWATCH = "yarn.json", "instances.json", "cloudwatch.json"


def collect_yarn(workspace: Workspace, run: Run) -> dict[str, Any]:
    """YARN's account of the application and the cluster, before the resource manager forgets.

    What was read at the first pull is kept: the cluster may be gone at the second. Where YARN does
    not answer any more, what CloudWatch kept of the cluster is stored instead.
    """
    known = workspace.store.get_json(run.id, YARN)
    if known is not None or run.application_id is None:
        return known or {}
    manager = places(workspace, run).manager
    application, cluster = manager.application(run.application_id), manager.cluster()
    if application is None or cluster is None:
        _collect_cloudwatch(workspace, run)
        return {}
    found = {"application": application.to_json(), "cluster": cluster.to_json()}
    workspace.store.put(run.id, YARN, json.dumps(found).encode())
    _last_sample(workspace, run, cluster)
    return found


def _last_sample(workspace: Workspace, run: Run, cluster: ClusterAccount) -> None:
    """The nodes as they are at the run's end follow the samples that were taken meanwhile."""
    from emrctl.metrics import nodes

    samples = nodes.Samples(0, nodes.read(workspace.store.get(run.id, NODES)))
    samples.add(nodes.sample(int(time.time() * 1000), cluster))
    workspace.store.put(run.id, NODES, samples.lines())


def _collect_cloudwatch(workspace: Workspace, run: Run) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    from emrctl.metrics import cloudwatch

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
    """EMR's instances are stored with the run; what its time of them cost, where that is known.

    By their real lives: nodes that came late, or went, count for as long as they were there.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from emrctl.metrics import instances

    span = _span(run)
    if span is None:
        return None
    try:
        found = instances.read(workspace.target.client("emr"), run.cluster.id)
    except (BotoCoreError, ClientError, KeyError, NotImplementedError):
        return None
    if not found:
        return None
    region = workspace.target.region
    usd = instances.cost_usd(found, span, lambda name, spot: _hourly_usd(name, region, spot=spot))
    document = {"instances": [item.to_json() for item in found], "cost_usd": usd}
    workspace.store.put(run.id, INSTANCES, json.dumps(document).encode())
    return usd


def _hourly_usd(name: str, region: str, *, spot: bool) -> float:
    own = prices.rate(name, region)
    ec2 = own.spot_usd if spot and own.spot_usd is not None else own.ec2_usd
    return ec2 + own.emr_usd


def _span(run: Run) -> Span | None:
    if run.started is None or run.ended is None:
        return None
    begin, end = (datetime.fromisoformat(moment) for moment in (run.started, run.ended))
    return round(begin.timestamp() * 1000), round(end.timestamp() * 1000)


def nodes_used(workspace: Workspace, run: Run) -> list[dict[str, Any]]:
    """What each node was used for while the run was watched; empty where it never was."""
    from emrctl.metrics import nodes

    return [item.to_json() for item in nodes.use(nodes.read(workspace.store.get(run.id, NODES)))]
