"""What a step asks its cluster for: YARN for containers, a standalone master for cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emrctl.aws.s3 import event_log_conf
from emrctl.clusters import sizing_standalone, sizing_yarn
from emrctl.errors import ProvisioningError
from emrctl.runs.backends import spark_submit
from emrctl.spec import ClusterSpec, SparkSettings

if TYPE_CHECKING:
    from emrctl.clusters.model import Cluster
    from emrctl.runs.store import Run

_MASTER_PORT = 7077


@dataclass(frozen=True, kw_only=True)
class Request:
    """Who is asked, with which settings beside the user's; `warning` where it cannot be had."""

    master: str = spark_submit.YARN
    conf: Mapping[str, str] = field(default_factory=dict)
    warning: str | None = None


def request(place: Cluster, settings: SparkSettings) -> Request:
    """What the settings ask of the cluster; `UsageError` where one executor fits nowhere."""
    spec = place.spec
    if isinstance(spec, ClusterSpec):
        return Request(warning=sizing_yarn.check(spec, settings).warning)
    lent = sizing_standalone.Workers.of(spec.worker.type, spec.worker.count)
    found = sizing_standalone.allot(lent, settings)
    return Request(
        master=f"spark://{_primary(place)}:{_MASTER_PORT}",
        conf=sizing_standalone.conf(found, settings),
        warning=found.warning,
    )


def own_conf(place: Cluster, run: Run) -> dict[str, str]:
    """Emrctl's own settings: where the event log goes, and how the application is found again."""
    found = event_log_conf(place.bucket)
    if place.spec.kind == "emr":
        return found | {"spark.app.name": run.job, "spark.yarn.tags": run.application_tag}
    # A standalone master knows no tags.
    return found | {"spark.app.name": f"{run.job} {run.application_tag}"}


def _primary(place: Cluster) -> str:
    for node in place.nodes:
        if node.role == "primary" and node.state == "RUNNING":
            return node.private_ip
    hint = "`emrctl start` brings a stopped cluster back."
    raise ProvisioningError(f"the primary of '{place.name}' does not run", hint=hint)
