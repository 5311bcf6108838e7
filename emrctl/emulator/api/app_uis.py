"""EMR API operations that give access to web UIs and applications of clusters."""

from __future__ import annotations

import secrets
import time
from typing import Any

from emrctl.emulator.api.checks import check_tags, has_runtime_roles
from emrctl.emulator.api.service import ApiError, Operation, Request, invalid
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster

_MAX_APP_UIS = 50
_CREDENTIALS_LIFETIME_S = 12 * 3600
# Types of persistent UIs in requests; EMR describes them with these names.
_PERSISTENT_TYPES = ("SHS",)
_ON_CLUSTER_PAGES = {
    "ResourceManager": "yarn",
    "SparkHistoryServer": "history",
    "ApplicationMaster": "proxy",
}


def _create_persistent_app_ui(request: Request) -> dict[str, Any]:
    arn, tags = request.members["TargetResourceArn"], request.members.get("Tags", [])
    cluster = next((one for one in request.service.clusters.values() if one.arn == arn), None)
    if cluster is None:
        raise invalid(f"The target resource ARN '{arn}' is not a cluster of this account.")
    if request.members.get("ProfilerType", "SHS") not in _PERSISTENT_TYPES:
        raise invalid("The local EMR has persistent UIs of type SHS only.")
    check_tags(tags)
    stored = request.service.app_uis
    ids = [key for key, one in stored.items() if one["cluster"] == cluster.id]
    if not ids and len(stored) >= _MAX_APP_UIS:
        raise invalid(f"An account has at most {_MAX_APP_UIS} active persistent UIs.")
    # EMR has one UI for each cluster and returns its id again.
    app_ui_id = ids[0] if ids else model.new_id("p-")
    if not ids:
        stored[app_ui_id] = {"cluster": cluster.id, "created": time.time(), "tags": tags}
    runtime_roles = has_runtime_roles(request.service, cluster)
    return {"PersistentAppUIId": app_ui_id, "RuntimeRoleEnabledCluster": runtime_roles}


def _app_ui(request: Request) -> dict[str, Any]:
    app_ui_id = request.members["PersistentAppUIId"]
    found = request.service.app_uis.get(app_ui_id)
    if found is None:
        raise invalid(f"Persistent application UI '{app_ui_id}' does not exist.")
    return found


def _describe_persistent_app_ui(request: Request) -> dict[str, Any]:
    stored = _app_ui(request)
    return {
        "PersistentAppUI": {
            "PersistentAppUIId": request.members["PersistentAppUIId"],
            "PersistentAppUITypeList": list(_PERSISTENT_TYPES),
            "PersistentAppUIStatus": "ATTACHED",
            "AuthorId": request.service.clusters[stored["cluster"]].account,
            "CreationTime": stored["created"],
            "LastModifiedTime": stored["created"],
            "Tags": stored["tags"],
        }
    }


def _persistent_url(request: Request) -> dict[str, Any]:
    stored, kind = _app_ui(request), request.members.get("PersistentAppUIType", "SHS")
    if kind not in _PERSISTENT_TYPES:
        raise invalid(f"The local EMR has no persistent UI of type {kind}.")
    page = "history"
    if application := request.members.get("ApplicationId"):
        page = f"history/history/{application}/jobs/"
    return _presigned(request, request.service.clusters[stored["cluster"]], page)


def _on_cluster_url(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    if cluster.state not in (model.RUNNING, model.WAITING):
        raise invalid(f"Cluster {cluster.id} is {cluster.state} and has no application UIs.")
    kind = request.members.get("OnClusterAppUIType", "SparkHistoryServer")
    page = _ON_CLUSTER_PAGES.get(kind)
    if page is None:
        raise invalid(f"The application of {kind} is not installed on cluster {cluster.id}.")
    if page == "proxy":
        application = request.members.get("ApplicationId")
        if not application:
            raise invalid("ApplicationId is required for ApplicationMaster.")
        page = f"proxy/{application}/"
    if request.members.get("DryRun"):
        return {"PresignedURLReady": True}
    return _presigned(request, cluster, page)


def _presigned(request: Request, cluster: EmulatedCluster, page: str) -> dict[str, Any]:
    url = request.service.web_ui(cluster.id, page)
    if url is None:
        raise invalid(f"Cluster {cluster.id} does not serve this UI.")
    return {"PresignedURLReady": True, "PresignedURL": url}


def _session_credentials(request: Request) -> dict[str, Any]:
    """Return credentials of a runtime role; applications of the local EMR do not check them."""
    cluster = request.cluster
    if not has_runtime_roles(request.service, cluster):
        raise invalid(f"Cluster {cluster.id} is not enabled for runtime roles.")
    if not cluster.active:
        raise ApiError(f"Cluster {cluster.id} is {cluster.state}.")
    user = {"Username": f"user_{secrets.token_hex(8)}", "Password": secrets.token_urlsafe(24)}
    return {
        "Credentials": {"UsernamePassword": user},
        "ExpiresAt": time.time() + _CREDENTIALS_LIFETIME_S,
    }


OPERATIONS: dict[str, Operation] = {
    "CreatePersistentAppUI": _create_persistent_app_ui,
    "DescribePersistentAppUI": _describe_persistent_app_ui,
    "GetPersistentAppUIPresignedURL": _persistent_url,
    "GetOnClusterAppUIPresignedURL": _on_cluster_url,
    "GetClusterSessionCredentials": _session_credentials,
}
