"""Open a cluster's web pages, by whichever method the account allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from emrctl.aws.http import get_json
from emrctl.clusters.kinds import kind_of
from emrctl.errors import NotFoundError
from emrctl.ports import LOOPBACK
from emrctl.remote import nodes, page_addresses, presigned, session_manager
from emrctl.remote.errors import UnreachableError
from emrctl.remote.page_addresses import Method, PageAddress, PageRequest
from emrctl.remote.tunnel import Tunnel

if TYPE_CHECKING:
    from emrctl.aws.target import Target

_TIMEOUT_S = 10.0


class Forwarding(Protocol):
    """Keeps a page reachable: an SSH tunnel or a Session Manager session."""

    def keep(self, until: threading.Event) -> None:
        """Keep the page reachable until the event."""

    def close(self) -> None:
        """Stop forwarding."""


@dataclass(frozen=True, kw_only=True)
class OpenPage:
    """A page's URL, the method that reached it and the forwarding that it needs, if any."""

    url: str
    method: Method | Literal["local"]
    forwarding: Forwarding | None = None


def open_page(target: Target, request: PageRequest) -> OpenPage:
    """Make the page reachable; raises `UnreachableError` with the reason of each method."""
    page_addresses.check_page(request)
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

        address = page_addresses.address(request, lambda port, path: _fetch(tunnel(port), path))
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

    address = page_addresses.address(request, lambda port, path: _fetch(forward(port), path))
    forwarding = forward(address.port)
    return OpenPage(url=_url(forwarding, address), method="ssm", forwarding=forwarding)


def _url(forwarding: Tunnel | session_manager.SessionForward, address: PageAddress) -> str:
    return f"http://{LOOPBACK}:{forwarding.open()}{address.path}"


def _fetch(forwarding: Tunnel | session_manager.SessionForward, path: str) -> Any:
    """Return the JSON document at `path`, and stop forwarding."""
    try:
        return get_json(f"http://{LOOPBACK}:{forwarding.open()}{path}", timeout_s=_TIMEOUT_S)
    finally:
        forwarding.release()


def _open_by_emr(target: Target, request: PageRequest) -> OpenPage:
    if not kind_of(request.cluster.spec).presigned_pages:
        raise UnreachableError("presigned URLs exist only for EMR clusters")
    url = presigned.url(target, request.cluster, request.page, request.application_id)
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
        hint = "Files are on S3: list them with boto3 or `aws --endpoint-url`."
        raise NotFoundError("the EMR on localhost has no HDFS", hint=hint)
    yarn = cluster.urls.get("yarn")
    if yarn is None:
        hint = "Run `emrctl show` for its state."
        raise NotFoundError(f"cluster '{cluster.name}' has no pages now", hint=hint)
    path = ""
    if page == "spark":
        base = target.page(cluster.id, cluster.primary_dns, "yarn")
        address = page_addresses.spark_address(
            request, lambda below: target.fetch(f"{base}{below}")
        )
        page, path = address.page, address.path
    if page == "history":
        url = target.page(cluster.id, cluster.primary_dns, "history")
    else:
        url = yarn.rstrip("/") + path if path else yarn
    return OpenPage(url=target.browser_url(url), method="local")
