"""Where a cluster's primary has its pages: EMR's own, or those of a standalone cluster."""

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
Way = Literal["ssh", "ssm", "emr"]
WAYS: tuple[Way, ...] = ("ssh", "ssm", "emr")
# HDFS's page moved with Hadoop 3; EMR 5 has Hadoop 2.
EMR: dict[Page, int] = {"yarn": 8088, "spark": 20888, "history": 18080, "namenode": 9870}
_OLD_NAMENODE = 50070
# With several steps at a time each driver has its own: Spark takes the first that is free.
STANDALONE: Mapping[str, int] = ec2.PAGES
_DRIVERS = range(STANDALONE["spark"], STANDALONE["spark"] + 8)

Ask = Callable[[int, str], Any]
"""The JSON document at a port of the primary, below a path; OSError, ValueError, EmrctlError."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What is to be opened: whose page, which, by which ways, and how to log in."""

    cluster: Cluster
    page: Page
    ways: Sequence[Way] = WAYS
    login: nodes.Login = field(default_factory=nodes.Login)
    application_id: str | None = None
    report: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True, kw_only=True)
class Address:
    """A page as the primary has it."""

    page: Page
    port: int
    path: str = "/"


def address(visit: Visit, ask: Ask) -> Address:
    """Where the page is; Spark's is that of the application, by default the newest that runs."""
    return _KINDS[visit.cluster.spec.kind][1](visit, ask)


def refuse_absent(visit: Visit) -> None:
    """`NotFoundError` where clusters of its kind have no such page."""
    known = _KINDS[visit.cluster.spec.kind][0]
    if visit.page not in known:
        hint = f"It has {', '.join(known)}."
        raise NotFoundError(f"'{visit.cluster.name}' has no {visit.page} page", hint=hint)


# --- EMR's ----------------------------------------------------------------------------------------


def _emrs(visit: Visit, ask: Ask) -> Address:
    if visit.page == "spark":
        return sparks(visit, lambda path: ask(EMR["yarn"], path))
    release = getattr(visit.cluster.spec, "release", "")
    old = visit.page == "namenode" and re.match(r"emr-[1-5]\.", release)
    path = "/cluster" if visit.page == "yarn" else "/"
    return Address(page=visit.page, port=_OLD_NAMENODE if old else EMR[visit.page], path=path)


def sparks(visit: Visit, yarn: Callable[[str], Any]) -> Address:
    """YARN's way to the application's driver; the history where none runs.

    `yarn` gives the JSON document at a path of the ResourceManager.
    """
    id_ = visit.application_id or _newest_of_yarn(yarn)
    if id_ is None:
        visit.report("no application runs now: this is Spark's history")
        return Address(page="history", port=EMR["history"])
    return Address(page="spark", port=EMR["spark"], path=f"/proxy/{id_}/")


def _newest_of_yarn(yarn: Callable[[str], Any]) -> str | None:
    try:
        found = rows(yarn("/ws/v1/cluster/apps?states=RUNNING"), "apps", "app")
    except (OSError, ValueError) as error:
        raise UnreachableError(f"YARN does not say what runs ({error})") from error
    newest = max(found, key=lambda item: int(item["startedTime"]), default=None)
    return None if newest is None else str(newest["id"])


# --- a standalone cluster's -----------------------------------------------------------------------


def _standalones(visit: Visit, ask: Ask) -> Address:
    if visit.page == "spark":
        id_ = visit.application_id or _newest_of_master(ask)
        if id_ is not None:
            return Address(page="spark", port=driver_port(ask, id_))
        visit.report("no application runs now: this is the master's page")
    return Address(page="master", port=STANDALONE["master"])


def _newest_of_master(ask: Ask) -> str | None:
    try:
        found = rows(ask(STANDALONE["master"], "/json/"), "activeapps")
    except (OSError, ValueError) as error:
        raise UnreachableError(f"the master does not say what runs ({error})") from error
    newest = max(found, key=lambda item: int(item["starttime"]), default=None)
    return None if newest is None else str(newest["id"])


def driver_port(ask: Ask, application_id: str) -> int:
    """Where the application's driver answers; `UnreachableError` where none does."""
    for port in _DRIVERS:
        # Where nobody listens there is no driver on a later port either: what is raised goes on.
        known = rows(ask(port, "/api/v1/applications"))
        if any(item.get("id") == application_id for item in known):
            return port
    hint = "`emrctl runs show` tells of a run that has ended."
    raise UnreachableError(f"no driver of {application_id} answers on the primary", hint=hint)


_KINDS: dict[str, tuple[Mapping[Any, int], Callable[[Visit, Ask], Address]]] = {
    "emr": (EMR, _emrs),
    "ec2": (STANDALONE, _standalones),
}
