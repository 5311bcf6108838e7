"""Logs of EMR's bootstrap actions, which EMR uploads below the cluster's LogUri."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emrctl import redact
from emrctl.aws.errors import translated
from emrctl.aws.listing import objects
from emrctl.aws.polling import poll_until
from emrctl.aws.s3 import open_object, split_uri
from emrctl.clusters import emr
from emrctl.clusters.registry import kind_of
from emrctl.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster
    from emrctl.spec import ProjectSpec

_LOG = re.compile(
    r"/node/(?P<node>[^/]+)/bootstrap-actions/(?P<action>\d+)/(?P<stream>stdout|stderr)(?:\.gz)?$"
)
# In EMR's message on a failed bootstrap action: the instance and the action's number.
_FAILED = re.compile(r"\((i-[0-9a-z]+)\).*bootstrap action (\d+)")
_LAST_LINES = 20


@dataclass(frozen=True, kw_only=True)
class BootstrapLog:
    """Stdout or stderr of a bootstrap action on a node; actions are numbered from 1."""

    node: str
    action: str
    stream: str
    uri: str
    text: str


def read_logs(project: ProjectSpec, target: Target, node: str = "") -> list[BootstrapLog]:
    """Return the non-empty logs of the project's newest cluster, by node, action and stream.

    `node` is an instance id. Without it, a cluster that failed has the logs of the failed action
    only. Raises `NotFoundError` if there is no cluster or log, `UsageError` for a cluster of EC2.
    """
    if kind_of(project.cluster).set_up_over_ssh:
        message = f"'{project.cluster.name}' is not an EMR cluster and has no bootstrap actions"
        hint = "`emrctl up` prints the output of scripts that fail on EC2 nodes."
        raise UsageError(message, hint=hint)
    with translated("reading the logs of bootstrap actions"):
        clusters = emr.list_clusters(project, target, terminating=True, ended=True)
        cluster = next((item for item in clusters if item.name == project.cluster.name), None)
        if cluster is None:
            hint = "Create it with `emrctl up`."
            raise NotFoundError(f"no cluster is called '{project.cluster.name}'", hint=hint)
        logs = _read(target, cluster, node)
    if not logs:
        nodes = f" on node {node}" if node else ""
        raise NotFoundError(
            f"{cluster.id} has no logs of bootstrap actions{nodes}",
            hint="EMR uploads logs every 5 minutes and when the cluster terminates.",
        )
    return logs


def _read(target: Target, cluster: Cluster, node: str) -> list[BootstrapLog]:
    if not cluster.log_uri:
        return []
    failed = _FAILED.search(cluster.reason)
    s3 = target.client("s3")
    bucket, prefix = split_uri(f"{cluster.log_uri.rstrip('/')}/{cluster.id}/node/")
    logs = []
    for item in objects(s3, bucket, prefix):
        key = item["Key"]
        match = _LOG.search(key)
        if match is None or (node and match["node"] != node):
            continue
        if not node and failed and match.group("node", "action") != failed.groups():
            continue
        with open_object(s3, bucket, key) as stream:
            text = redact.stream(stream).read().decode(errors="replace")
        facts: dict[str, str] = match.groupdict()
        logs.append(BootstrapLog(**facts, uri=f"s3://{bucket}/{key}", text=text))
    kept = (log for log in logs if log.text.strip())
    return sorted(kept, key=lambda log: (log.node, int(log.action), log.stream))


def last_lines(project: ProjectSpec, target: Target) -> Sequence[str]:
    """Return the last lines of the bootstrap action that failed, once EMR has uploaded them."""
    logs: list[BootstrapLog] = []

    def uploaded() -> bool:
        try:
            logs[:] = read_logs(project, target)
        except NotFoundError:
            return False
        return True

    poll_until(uploaded, target.poll_s, target.logs_s)
    log = next((log for log in logs if log.stream == "stderr"), logs[0] if logs else None)
    return log.text.rstrip().splitlines()[-_LAST_LINES:] if log else ()
