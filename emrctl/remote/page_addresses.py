"""Ports and paths of the web pages on a cluster's primary, for EMR and standalone clusters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from emrctl.clusters import ec2
from emrctl.errors import NotFoundError
from emrctl.metrics.live.rest import rows
from emrctl.remote import nodes
from emrctl.remote.errors import UnreachableError

if TYPE_CHECKING:
    from emrctl.clusters.model import Cluster

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


def address(request: PageRequest, get_json: GetJson) -> PageAddress:
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
    release = getattr(request.cluster.spec, "release", "")
    old = request.page == "namenode" and re.match(r"emr-[1-5]\.", release)
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
