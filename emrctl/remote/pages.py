"""Open a cluster's web pages over SSH, Session Manager or EMR's presigned URLs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from emrctl.aws import http, releases
from emrctl.aws.errors import translate
from emrctl.aws.polling import Backoff
from emrctl.aws.target import Target
from emrctl.clusters import ec2
from emrctl.clusters.model import Cluster
from emrctl.clusters.registry import kind_of
from emrctl.errors import NotFoundError, UnreachableError
from emrctl.metrics.live.rest import rows
from emrctl.ports import LOOPBACK
from emrctl.remote import nodes, session_manager
from emrctl.remote.tunnel import Tunnel

Page = Literal["yarn", "master", "spark", "history", "namenode"]
Method = Literal["ssh", "ssm", "emr"]
METHODS: tuple[Method, ...] = ("ssh", "ssm", "emr")
# The NameNode's port changed with Hadoop 3; EMR 5 has Hadoop 2.
EMR: dict[Page, int] = {"yarn": 8088, "spark": 20888, "history": 18080, "namenode": 9870}
_HADOOP_2_NAMENODE = 50070
# Each concurrent driver has its own page: Spark takes the first free port.
STANDALONE: Mapping[str, int] = ec2.PAGE_PORTS
_DRIVER_PORTS = range(STANDALONE["spark"], STANDALONE["spark"] + 8)

GetJson = Callable[[int, str], Any]
"""Returns the JSON at a port and path of the primary; OSError, ValueError, EmrctlError."""


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """The page to open: cluster, name, methods to try, login and application."""

    cluster: Cluster
    page: Page
    methods: Sequence[Method] = METHODS
    login: nodes.Login = field(default_factory=nodes.Login)
    application_id: str | None = None
    report: Callable[[str], None] = lambda _message: None


@dataclass(frozen=True, kw_only=True)
class PageAddress:
    """Port and path of a page on the primary."""

    page: Page
    port: int
    path: str = "/"


def find_page(request: PageRequest, get_json: GetJson) -> PageAddress:
    """Return the page's address; for Spark that of the application, by default the newest one."""
    return _KINDS[request.cluster.spec.kind][1](request, get_json)


def check_page(request: PageRequest) -> None:
    """Raise `NotFoundError` if clusters of this kind have no such page."""
    known = _KINDS[request.cluster.spec.kind][0]
    if request.page not in known:
        hint = f"Pages: {', '.join(known)}."
        raise NotFoundError(f"'{request.cluster.name}' has no {request.page} page", hint=hint)


# --- EMR ------------------------------------------------------------------------------------------


def _emr_address(request: PageRequest, get_json: GetJson) -> PageAddress:
    if request.page == "spark":
        return spark_address(request, lambda path: get_json(EMR["yarn"], path))
    release = releases.release(getattr(request.cluster.spec, "release", ""))
    old = request.page == "namenode" and release.hadoop.startswith("2.")
    path = "/cluster" if request.page == "yarn" else "/"
    return PageAddress(
        page=request.page, port=_HADOOP_2_NAMENODE if old else EMR[request.page], path=path
    )


def spark_address(request: PageRequest, yarn: Callable[[str], Any]) -> PageAddress:
    """Return YARN's proxy of the driver's page, or the history server if no application runs.

    `yarn` returns the JSON document at a path of the ResourceManager.
    """
    id_ = request.application_id or _newest_of_yarn(yarn)
    if id_ is None:
        request.report("no application is running: opening the history server")
        return PageAddress(page="history", port=EMR["history"])
    return PageAddress(page="spark", port=EMR["spark"], path=f"/proxy/{id_}/")


def _newest_of_yarn(yarn: Callable[[str], Any]) -> str | None:
    try:
        applications = rows(yarn("/ws/v1/cluster/apps?states=RUNNING"), "apps", "app")
    except (OSError, ValueError) as error:
        raise UnreachableError(f"cannot list applications of YARN ({error})") from error
    newest = max(applications, key=lambda item: int(item["startedTime"]), default=None)
    return None if newest is None else str(newest["id"])


# --- Spark standalone -----------------------------------------------------------------------------


def _standalone_address(request: PageRequest, get_json: GetJson) -> PageAddress:
    if request.page == "spark":
        id_ = request.application_id or _newest_of_master(get_json)
        if id_ is not None:
            return PageAddress(page="spark", port=driver_port(get_json, id_))
        request.report("no application is running: opening the master's page")
    return PageAddress(page="master", port=STANDALONE["master"])


def _newest_of_master(get_json: GetJson) -> str | None:
    try:
        applications = rows(get_json(STANDALONE["master"], "/json/"), "activeapps")
    except (OSError, ValueError) as error:
        raise UnreachableError(f"cannot list applications of the master ({error})") from error
    newest = max(applications, key=lambda item: int(item["starttime"]), default=None)
    return None if newest is None else str(newest["id"])


def driver_port(get_json: GetJson, application_id: str) -> int:
    """Return the port of the application's driver; raises `UnreachableError` if there is none."""
    for port in _DRIVER_PORTS:
        # Drivers take ports in order: an error on this one means that no later port is used.
        applications = rows(get_json(port, "/api/v1/applications"))
        if any(item.get("id") == application_id for item in applications):
            return port
    hint = "For a finished run use `emrctl runs show RUN`."
    raise UnreachableError(f"no driver of {application_id} runs on the primary", hint=hint)


_KINDS: dict[str, tuple[Mapping[Any, int], Callable[[PageRequest, GetJson], PageAddress]]] = {
    "emr": (EMR, _emr_address),
    "ec2": (STANDALONE, _standalone_address),
}


_READY_S = 120.0
_APP_UI_TYPES = {
    "yarn": "ResourceManager",
    "history": "SparkHistoryServer",
    "spark": "ApplicationMaster",
}


def presigned_url(
    target: Target, cluster: Cluster, page: str, application_id: str | None = None
) -> str:
    """Return a presigned URL of the page; raises `UnreachableError` with EMR's reason.

    If the cluster cannot sign its history server, EMR's persistent one is used.
    """
    kind = _APP_UI_TYPES.get(page)
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
    app_ui = _call_emr(lambda: emr.create_persistent_app_ui(TargetResourceArn=arn))
    request = {"PersistentAppUIId": app_ui["PersistentAppUIId"], "PersistentAppUIType": "SHS"}
    return _ready(target, lambda: emr.get_persistent_app_ui_presigned_url(**request))


def _ready(target: Target, ask: Callable[[], dict[str, Any]]) -> str:
    pace, deadline = Backoff(target.poll_s / 5), time.monotonic() + _READY_S
    while True:
        answer = _call_emr(ask)
        if answer.get("PresignedURLReady") and answer.get("PresignedURL"):
            return str(answer["PresignedURL"])
        if time.monotonic() > deadline:
            raise UnreachableError(f"EMR returned no URL after {_READY_S:.0f} s")
        pace.wait()


def _call_emr(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except (BotoCoreError, ClientError) as error:
        explained = translate(error, "requesting a presigned URL")
        raise UnreachableError(explained.message, hint=explained.hint) from error


_TIMEOUT_S = 10.0

Forwarding = Tunnel | session_manager.SessionForward
"""Keeps a page reachable."""


@dataclass(frozen=True, kw_only=True)
class OpenPage:
    """A page's URL, the method that reached it and the forwarding that it needs, if any."""

    url: str
    method: Method | Literal["local"]
    forwarding: Forwarding | None = None


def open_page(target: Target, request: PageRequest) -> OpenPage:
    """Make the page reachable; raises `UnreachableError` with the reason of each method."""
    check_page(request)
    if kind_of(request.cluster.spec).uses_folders(target):
        return _open_local(target, request)
    errors: list[UnreachableError] = []
    for method in request.methods:
        try:
            return _OPENERS[method](target, request)
        except UnreachableError as error:
            errors.append(error)
            request.report(f"{method}: {error.message}")
    page = f"the {request.page} page of '{request.cluster.name}'"
    raise all_methods_failed(request.methods, errors, page)


def all_methods_failed(
    methods: Sequence[str], errors: Sequence[UnreachableError], what: str
) -> UnreachableError:
    """Return one error with the reason and the hint of each method."""
    failures = list(zip(methods, errors, strict=False))
    reasons = "; ".join(f"{method}: {error.message}" for method, error in failures)
    hints = [f"{method}: {error.hint}" for method, error in failures if error.hint]
    return UnreachableError(f"cannot reach {what} ({reasons})", hint=" ".join(hints))


def _open_by_ssh(target: Target, request: PageRequest) -> OpenPage:
    primary = nodes.find_node(request.cluster)
    host = primary.private_ip or primary.private_dns
    with ExitStack() as close_on_error:
        connection = nodes.connect(target, request.cluster, primary, request.login, request.report)
        close_on_error.callback(connection.close)

        def tunnel(port: int) -> Tunnel:
            return Tunnel(connection, (host, port), request.report)

        address = find_page(request, lambda port, path: _fetch(tunnel(port), path))
        forwarding = tunnel(address.port)
        url = _url(forwarding, address)
        close_on_error.pop_all()
    return OpenPage(url=url, method="ssh", forwarding=forwarding)


def _open_by_session(target: Target, request: PageRequest) -> OpenPage:
    primary = nodes.find_node(request.cluster)
    session_manager.check_available(target, primary.id)

    def forward(port: int) -> session_manager.SessionForward:
        remote = (primary.private_ip or primary.private_dns, port)
        return session_manager.SessionForward(target, primary.id, remote, request.report)

    address = find_page(request, lambda port, path: _fetch(forward(port), path))
    forwarding = forward(address.port)
    return OpenPage(url=_url(forwarding, address), method="ssm", forwarding=forwarding)


def _url(forwarding: Forwarding, address: PageAddress) -> str:
    return f"http://{LOOPBACK}:{forwarding.open()}{address.path}"


def _fetch(forwarding: Forwarding, path: str) -> Any:
    """Return the JSON document at `path`, and stop forwarding."""
    try:
        return http.get_json(f"http://{LOOPBACK}:{forwarding.open()}{path}", timeout_s=_TIMEOUT_S)
    finally:
        forwarding.release()


def _open_by_emr(target: Target, request: PageRequest) -> OpenPage:
    if not kind_of(request.cluster.spec).presigned_pages:
        raise UnreachableError("presigned URLs exist only for EMR clusters")
    url = presigned_url(target, request.cluster, request.page, request.application_id)
    return OpenPage(url=url, method="emr")


_OPENERS: dict[Method, Callable[[Target, PageRequest], OpenPage]] = {
    "ssh": _open_by_ssh,
    "ssm": _open_by_session,
    "emr": _open_by_emr,
}


def _open_local(target: Target, request: PageRequest) -> OpenPage:
    """Return the emulator's page with a one-time ticket for the browser."""
    cluster, page = request.cluster, request.page
    if page == "namenode":
        hint = "List files with a step: `hadoop fs -ls /`."
        raise NotFoundError("HDFS has no web page on the EMR on localhost", hint=hint)
    yarn = cluster.urls.get("yarn")
    if yarn is None:
        hint = "Run `emrctl show` for its state."
        raise NotFoundError(f"cluster '{cluster.name}' has no pages now", hint=hint)
    path = ""
    if page == "spark":
        base = target.page(cluster.id, cluster.primary_dns, "yarn")
        address = spark_address(request, lambda below: target.fetch(f"{base}{below}"))
        page, path = address.page, address.path
    if page == "history":
        url = target.page(cluster.id, cluster.primary_dns, "history")
    else:
        url = yarn.rstrip("/") + path if path else yarn
    return OpenPage(url=target.browser_url(url), method="local")
