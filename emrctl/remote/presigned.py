"""Addresses that EMR signs for its own copies of a cluster's pages: no key, no port, no plugin."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emrctl.aws import errors
from emrctl.aws.polling import Pace
from emrctl.remote.errors import UnreachableError

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster

_READY_S = 120.0
_TYPES = {"yarn": "ResourceManager", "history": "SparkHistoryServer", "spark": "ApplicationMaster"}


def url(target: Target, cluster: Cluster, page: str, application_id: str | None = None) -> str:
    """An address that opens the page for a while; `UnreachableError` with what EMR says.

    Of a cluster that refuses its history is looked for among EMR's own copies.
    """
    kind = _TYPES.get(page)
    if kind is None:
        raise UnreachableError(f"EMR signs no address of the {page} page")
    if kind == "ApplicationMaster" and application_id is None:
        raise UnreachableError("EMR signs Spark's page only for an application that runs")
    try:
        return _on_cluster(target, cluster.id, kind, application_id)
    except UnreachableError:
        if page != "history":
            raise
        return _persistent(target, cluster.arn)


def _on_cluster(target: Target, cluster_id: str, kind: str, application_id: str | None) -> str:
    asked = {"ClusterId": cluster_id, "OnClusterAppUIType": kind}
    if kind == "ApplicationMaster":
        asked["ApplicationId"] = str(application_id)
    emr = target.client("emr")
    return _ready(target, lambda: emr.get_on_cluster_app_ui_presigned_url(**asked))


def _persistent(target: Target, arn: str) -> str:
    """EMR keeps one for thirty days after the application; it sees event logs on HDFS only."""
    emr = target.client("emr")
    made = _asked(lambda: emr.create_persistent_app_ui(TargetResourceArn=arn))
    asked = {"PersistentAppUIId": made["PersistentAppUIId"], "PersistentAppUIType": "SHS"}
    return _ready(target, lambda: emr.get_persistent_app_ui_presigned_url(**asked))


def _ready(target: Target, ask: Callable[[], dict[str, Any]]) -> str:
    pace, until = Pace(target.poll_s / 5), time.monotonic() + _READY_S
    while True:
        answer = _asked(ask)
        if answer.get("PresignedURLReady") and answer.get("PresignedURL"):
            return str(answer["PresignedURL"])
        if time.monotonic() > until:
            raise UnreachableError(f"EMR had no address after {_READY_S:.0f} s")
        pace.rest()


def _asked(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except (BotoCoreError, ClientError) as error:
        told = errors.translate(error, "asking EMR for an address")
        raise UnreachableError(told.message, hint=told.hint) from error
