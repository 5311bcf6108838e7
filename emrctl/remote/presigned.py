"""Presigned URLs of EMR for a cluster's pages: no key, no open port, no plugin."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emrctl.aws import errors
from emrctl.aws.polling import Backoff
from emrctl.remote.errors import UnreachableError

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster

_READY_S = 120.0
_TYPES = {"yarn": "ResourceManager", "history": "SparkHistoryServer", "spark": "ApplicationMaster"}


def url(target: Target, cluster: Cluster, page: str, application_id: str | None = None) -> str:
    """Return a presigned URL of the page; raises `UnreachableError` with EMR's reason.

    If the cluster cannot sign its history server, EMR's persistent one is used.
    """
    kind = _TYPES.get(page)
    if kind is None:
        raise UnreachableError(f"EMR has no presigned URL for the {page} page")
    if kind == "ApplicationMaster" and application_id is None:
        raise UnreachableError("EMR signs Spark's page only for a running application")
    try:
        return _on_cluster(target, cluster.id, kind, application_id)
    except UnreachableError:
        if page != "history":
            raise
        return _persistent(target, cluster.arn)


def _on_cluster(target: Target, cluster_id: str, kind: str, application_id: str | None) -> str:
    request = {"ClusterId": cluster_id, "OnClusterAppUIType": kind}
    if kind == "ApplicationMaster":
        request["ApplicationId"] = str(application_id)
    emr = target.client("emr")
    return _ready(target, lambda: emr.get_on_cluster_app_ui_presigned_url(**request))


def _persistent(target: Target, arn: str) -> str:
    """EMR keeps it for 30 days after the application ends; it reads event logs on HDFS only."""
    emr = target.client("emr")
    app_ui = _call(lambda: emr.create_persistent_app_ui(TargetResourceArn=arn))
    request = {"PersistentAppUIId": app_ui["PersistentAppUIId"], "PersistentAppUIType": "SHS"}
    return _ready(target, lambda: emr.get_persistent_app_ui_presigned_url(**request))


def _ready(target: Target, ask: Callable[[], dict[str, Any]]) -> str:
    pace, deadline = Backoff(target.poll_s / 5), time.monotonic() + _READY_S
    while True:
        answer = _call(ask)
        if answer.get("PresignedURLReady") and answer.get("PresignedURL"):
            return str(answer["PresignedURL"])
        if time.monotonic() > deadline:
            raise UnreachableError(f"EMR returned no URL after {_READY_S:.0f} s")
        pace.wait()


def _call(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except (BotoCoreError, ClientError) as error:
        explained = errors.translate(error, "requesting a presigned URL")
        raise UnreachableError(explained.message, hint=explained.hint) from error
