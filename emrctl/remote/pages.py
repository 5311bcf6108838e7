"""A cluster's pages, by whichever way the account allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from emrctl.aws.http import get_json
from emrctl.errors import NotFoundError
from emrctl.ports import LOOPBACK
from emrctl.remote import nodes, page_addresses, presigned, session_manager
from emrctl.remote.errors import UnreachableError
from emrctl.remote.page_addresses import Address, Visit, Way
from emrctl.remote.tunnel import Tunnel

if TYPE_CHECKING:
    from emrctl.aws.target import Target

_ANSWER_S = 10.0


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


def opened(target: Target, visit: Visit) -> Opened:
    """The page can be opened at its `url`; `UnreachableError` says of each way why it is none."""
    page_addresses.refuse_absent(visit)
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


def _by_ssh(target: Target, visit: Visit) -> Opened:
    primary = nodes.find(visit.cluster)
    inside = primary.private_ip or primary.private_dns
    with ExitStack() as unless_opened:
        line = nodes.line(target, visit.cluster, primary, visit.login, visit.report)
        unless_opened.callback(line.close)

        def tunnel(port: int) -> Tunnel:
            return Tunnel(line, (inside, port), visit.report)

        found = page_addresses.address(visit, lambda port, path: _asked(tunnel(port), path))
        held = tunnel(found.port)
        url = _url(held, found)
        unless_opened.pop_all()
    return Opened(url=url, way="ssh", held=held)


def _by_session(target: Target, visit: Visit) -> Opened:
    primary = nodes.find(visit.cluster)
    session_manager.available(target, primary.id)

    def forward(port: int) -> session_manager.Forward:
        inside = primary.private_ip or primary.private_dns
        return session_manager.Forward(target, primary.id, (inside, port), visit.report)

    found = page_addresses.address(visit, lambda port, path: _asked(forward(port), path))
    held = forward(found.port)
    return Opened(url=_url(held, found), way="ssm", held=held)


def _url(held: Tunnel | session_manager.Forward, found: Address) -> str:
    return f"http://{LOOPBACK}:{held.open()}{found.path}"


def _asked(way: Tunnel | session_manager.Forward, path: str) -> Any:
    """The JSON document at `path`; the way there is closed again."""
    try:
        return get_json(f"http://{LOOPBACK}:{way.open()}{path}", timeout_s=_ANSWER_S)
    finally:
        way.release()


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


def _local(target: Target, visit: Visit) -> Opened:
    """The emulator's page, as a browser is let in."""
    cluster, page = visit.cluster, visit.page
    if page == "namenode":
        hint = "Files lie on s3://: boto3 and `aws --endpoint-url` list them."
        raise NotFoundError("the EMR on localhost has no HDFS", hint=hint)
    yarn = cluster.urls.get("yarn")
    if yarn is None:
        hint = "`emrctl show` says how the cluster is."
        raise NotFoundError(f"cluster '{cluster.name}' has no pages now", hint=hint)
    path = ""
    if page == "spark":
        base = target.page(cluster.id, cluster.primary_dns, "yarn")
        found = page_addresses.sparks(visit, lambda below: target.fetch(f"{base}{below}"))
        page, path = found.page, found.path
    if page == "history":
        return _let_in(target, target.page(cluster.id, cluster.primary_dns, "history"))
    return _let_in(target, yarn.rstrip("/") + path if path else yarn)


def _let_in(target: Target, url: str) -> Opened:
    return Opened(url=target.browser_url(url), way="local")
