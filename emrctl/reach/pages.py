"""A cluster's pages, by whichever way the account allows."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from emrctl.errors import NotFoundError
from emrctl.reach import nodes, presigned, sessions
from emrctl.reach.trouble import UnreachableError
from emrctl.reach.tunnel import LOOPBACK, Tunnel

if TYPE_CHECKING:
    from emrctl.provision import Cluster
    from emrctl.target import Target

Page = Literal["yarn", "master", "spark", "history", "namenode"]
Way = Literal["ssh", "ssm", "emr"]
WAYS: tuple[Way, ...] = ("ssh", "ssm", "emr")
# HDFS's page moved with Hadoop 3; EMR 5 has Hadoop 2.
PORTS: dict[Page, int] = {"yarn": 8088, "spark": 20888, "history": 18080, "namenode": 9870}
# A standalone cluster has these two: the newest driver's is the first free port's.
_STANDALONE: dict[Page, int] = {"master": 8080, "spark": 4040}
_OLD_NAMENODE = 50070
_YARN_S = 10.0


class Forwarding(Protocol):
    """What holds a page open: a tunnel over SSH, or a session."""

    def keep(self, until: threading.Event) -> None:
        """The page can be reached until the event."""

    def close(self) -> None:
        """It cannot any more."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A page's address, the way that led there and, where it needs holding, what holds it."""

    url: str
    way: Way | Literal["local"]
    held: Forwarding | None = None


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What is to be opened: whose page, which, by which ways, and how to log in."""

    cluster: Cluster
    page: Page
    ways: Sequence[Way] = WAYS
    login: nodes.Login = field(default_factory=nodes.Login)
    application_id: str | None = None
    report: Callable[[str], None] = lambda _line: None


def opened(target: Target, visit: Visit) -> Opened:
    """The page can be opened at its `url`; `UnreachableError` says of each way why it is none."""
    _refuse_absent(visit)
    if target.endpoint is not None and visit.cluster.spec.kind == "emr":
        return _local(target, visit)
    why: list[UnreachableError] = []
    for way in visit.ways:
        try:
            return _BY[way](target, visit)
        except UnreachableError as error:
            why.append(error)
            visit.report(f"{way}: {error.message}")
    raise none_left(visit.ways, why, f"the {visit.page} page of '{visit.cluster.name}'")


def none_left(ways: Sequence[str], why: Sequence[UnreachableError], what: str) -> UnreachableError:
    """No way leads to `what`: each with its reason, and what would open each."""
    reasons = "; ".join(f"{way}: {error.message}" for way, error in zip(ways, why, strict=False))
    hints = [f"{way}: {e.hint}" for way, e in zip(ways, why, strict=False) if e.hint]
    return UnreachableError(f"no way leads to {what} ({reasons})", hint=" ".join(hints))


def _refuse_absent(visit: Visit) -> None:
    kind = visit.cluster.spec.kind
    known = _STANDALONE if kind == "ec2" else PORTS
    if visit.page not in known:
        hint = f"It has {', '.join(known)}."
        raise NotFoundError(f"'{visit.cluster.name}' has no {visit.page} page", hint=hint)


def port(cluster: Cluster, page: Page) -> int:
    """Where the page answers on the primary."""
    if cluster.spec.kind == "ec2":
        return _STANDALONE[page]
    old = page == "namenode" and re.match(r"emr-[1-5]\.", cluster.spec.release)
    return _OLD_NAMENODE if old else PORTS[page]


def _by_ssh(target: Target, visit: Visit) -> Opened:
    primary = nodes.find(visit.cluster)
    line = nodes.line(target, visit.cluster, primary, visit.login, visit.report)

    def tunnel(page: Page) -> Tunnel:
        inside = primary.private_ip or primary.private_dns
        return Tunnel(line, (inside, port(visit.cluster, page)), visit.report)

    try:
        if visit.cluster.spec.kind == "emr":
            yarn = tunnel("yarn")
            visit = _with_application(visit, yarn.open, yarn.release)
        held = tunnel(visit.page)
        return Opened(url=_at(held.open(), visit), way="ssh", held=held)
    except BaseException:
        line.close()
        raise


def _by_session(target: Target, visit: Visit) -> Opened:
    primary = nodes.find(visit.cluster)
    sessions.available(target, primary.id)

    def forward(page: Page) -> sessions.Forward:
        remote = port(visit.cluster, page)
        return sessions.Forward(target, primary.id, remote, visit.report)

    if visit.cluster.spec.kind == "emr":
        yarn = forward("yarn")
        visit = _with_application(visit, yarn.open, yarn.close)
    held = forward(visit.page)
    return Opened(url=_at(held.open(), visit), way="ssm", held=held)


def _with_application(visit: Visit, begin: Callable[[], int], end: Callable[[], None]) -> Visit:
    """Spark's page is that of an application: the newest that runs, found out from YARN."""
    if visit.page != "spark" or visit.application_id is not None:
        return visit
    base = f"http://{LOOPBACK}:{begin()}"
    try:
        return _of_running(visit, lambda path: _fetched(f"{base}{path}"))
    finally:
        end()


def _of_running(visit: Visit, fetch: Callable[[str], Any]) -> Visit:
    """The visit of the newest running application; of the history where none runs."""
    try:
        apps = fetch("/ws/v1/cluster/apps?states=RUNNING")["apps"] or {}
    except (OSError, ValueError, KeyError) as error:
        raise UnreachableError(f"YARN does not say what runs ({error})") from error
    found = apps.get("app") or []
    if not found:
        visit.report("no application runs now: this is Spark's history")
        return replace(visit, page="history")
    newest = max(found, key=lambda item: int(item["startedTime"]))
    return replace(visit, application_id=str(newest["id"]))


def _fetched(url: str) -> Any:
    # Nothing on loopback is asked through the proxy that the environment may name.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=_YARN_S) as answer:
        return json.load(answer)


def _by_emr(target: Target, visit: Visit) -> Opened:
    if visit.cluster.spec.kind == "ec2":
        raise UnreachableError("EMR signs no addresses of a cluster that is not its own")
    found = presigned.url(target, visit.cluster, visit.page, visit.application_id)
    return Opened(url=found, way="emr")


_BY: dict[Way, Callable[[Target, Visit], Opened]] = {
    "ssh": _by_ssh,
    "ssm": _by_session,
    "emr": _by_emr,
}


def _at(own: int, visit: Visit) -> str:
    base = f"http://{LOOPBACK}:{own}"
    paths = {"yarn": "/cluster", "spark": f"/proxy/{visit.application_id}/"}
    return base + (paths.get(visit.page, "/") if visit.cluster.spec.kind == "emr" else "/")


def _local(target: Target, visit: Visit) -> Opened:
    """The emulator's page, as a browser is let in."""
    cluster = visit.cluster
    if visit.page == "namenode":
        hint = "Files lie on s3://: boto3 and `aws --endpoint-url` list them."
        raise NotFoundError("the EMR on localhost has no HDFS", hint=hint)
    yarn = cluster.urls.get("yarn")
    if yarn is None:
        hint = "`emrctl show` says how the cluster is."
        raise NotFoundError(f"cluster '{cluster.name}' has no pages now", hint=hint)
    if visit.page == "spark" and visit.application_id is None:
        base = target.page(cluster.id, cluster.primary_dns, "yarn")
        visit = _of_running(visit, lambda path: target.fetch(f"{base}{path}"))
    own = {
        "yarn": yarn,
        "spark": f"{yarn.rstrip('/')}/proxy/{visit.application_id}/",
        "history": target.page(cluster.id, cluster.primary_dns, "history"),
    }
    return Opened(url=target.browser_url(own[visit.page]), way="local")
