"""The emulator's own pages, under `/emrctl/`: what runs, and the way in to YARN's and Spark's.

Programs show the token in `X-Emrctl-Token`. A browser is sent to `/emrctl/ui` with a ticket that is
good for a few minutes, and is given a cookie that YARN's own pages ask for; from then on it speaks
to YARN directly.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from emrctl.emulator.server.sigv4 import (
    Application,
    Environ,
    RejectedRequestError,
    StartResponse,
    check_host,
    check_origin,
    refuse,
)

PREFIX = "/emrctl/"
# Long enough to read `emrctl show` and click.
_TICKET_S = 600


class ClusterWebServers(Protocol):
    """The web servers of the clusters, as far as these pages need to know them."""

    def status(self) -> dict[str, Any]:
        """What runs, as JSON can hold it."""

    def address(self, cluster_id: str, kind: str) -> str | None:
        """Where the cluster's `yarn`, `proxy` or `history` answers; None where it does not."""

    def cookie(self, address: str) -> str | None:
        """The cookie that opens the server at that address; None where it is not one of ours."""


@dataclass(frozen=True, kw_only=True)
class Pages:
    """A WSGI application that answers under `/emrctl/` and hands all else to `inner`."""

    inner: Application
    web_servers: ClusterWebServers
    token: str
    port: int

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The page, or the inner application's answer."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX):
            return self.inner(environ, start_response)
        try:
            answer = self._page(path[len(PREFIX) :], environ)
        except RejectedRequestError as refusal:
            return refuse(environ, start_response, refusal)
        start_response(answer.status, [*answer.headers.items()])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _page(self, path: str, environ: Environ) -> PageResponse:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise RejectedRequestError("MethodNotAllowed", "These pages are read only.", 405)
        query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", "")))
        if path == "ui":
            # A browser comes here from anywhere: what counts is that we signed the address.
            check_host(environ, self.port)
            self._check_ticket(query)
            return self._let_in(query, environ["HTTP_HOST"])
        check_origin(environ, self.port)
        self._check_token(environ.get("HTTP_X_EMRCTL_TOKEN", ""))
        if path == "ticket":
            return _json({"url": browser_url(self.port, self.token, query.get("to", ""))})
        if path == "status":
            return _json(self.web_servers.status())
        parts = path.split("/", 3)
        if len(parts) >= 3 and parts[0] == "clusters":
            rest = parts[3] if len(parts) == 4 else ""
            return self._forward(parts[1], parts[2], _with_query(rest, environ))
        raise RejectedRequestError("NotFound", f"There is no page {PREFIX}{path}.", 404)

    def _check_token(self, shown: str) -> None:
        if not hmac.compare_digest(shown.encode(), self.token.encode()):
            raise RejectedRequestError("AccessDenied", "The emulator's token is missing or wrong.")

    def _check_ticket(self, query: Mapping[str, str]) -> None:
        to, until = query.get("to", ""), query.get("until", "")
        good = hmac.compare_digest(ticket(self.token, to, until), query.get("ticket", ""))
        if not (good and until.isdigit() and time.time() <= int(until)):
            raise RejectedRequestError(
                "AccessDenied", "The address has expired. Ask emrctl for another."
            )

    def _let_in(self, query: Mapping[str, str], host: str) -> PageResponse:
        """The cookie, then on to where the browser wants to be.

        YARN's pages link to this machine by either of its names, and a cookie is for one.
        """
        to = self._resolved(query.get("to", ""))
        cookie = self.web_servers.cookie(to)
        onward = to
        if host.startswith("127.0.0.1"):
            onward = f"http://localhost:{self.port}{PREFIX}ui?{urllib.parse.urlencode(query)}"
        if cookie is None:
            raise RejectedRequestError(
                "AccessDenied", f"'{to}' is no page of a cluster of this emulator."
            )
        headers = {
            "Location": onward,
            "Set-Cookie": f"{cookie}; Path=/; HttpOnly; SameSite=Lax",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        }
        return PageResponse("302 Found", headers, b"")

    def _resolved(self, to: str) -> str:
        """An address below our own pages stands for the server behind it, which starts for it."""
        own = f"http://127.0.0.1:{self.port}{PREFIX}clusters/"
        if not to.startswith(own):
            return to
        cluster_id, _, kind = to.removeprefix(own).partition("/")
        return self.web_servers.address(cluster_id, kind.strip("/")) or to

    def _forward(self, cluster_id: str, kind: str, rest: str) -> PageResponse:
        address = self.web_servers.address(cluster_id, kind)
        if address is None:
            raise RejectedRequestError(
                "NotFound", f"Cluster {cluster_id} has no '{kind}' now.", 404
            )
        return fetch(f"{address}/{rest}", self.web_servers.cookie(address))


def browser_url(port: int, token: str, to: str) -> str:
    """An address that lets a browser in and takes it on to `to`, a page of YARN or Spark.

    It is good for a few minutes, so that nothing of worth stays in the browser's history.
    """
    until = str(int(time.time()) + _TICKET_S)
    query = urllib.parse.urlencode({"to": to, "until": until, "ticket": ticket(token, to, until)})
    return f"http://127.0.0.1:{port}{PREFIX}ui?{query}"


def ticket(token: str, to: str, until: str) -> str:
    """What lets a browser in, to that address and until that second, without the token itself."""
    return hmac.new(token.encode(), f"{until} {to}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class PageResponse:
    """What goes back to the caller."""

    status: str
    headers: Mapping[str, str]
    body: bytes


class _StayThere(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to the same server only: the cookie is for no other."""

    def redirect_request(self, *arguments: Any, **options: Any) -> Any:
        """The request to go on with, None where the redirect leads elsewhere."""
        request, *_, new_url = arguments
        if urllib.parse.urlsplit(new_url).netloc != request.host:
            return None
        return super().redirect_request(*arguments, **options)


def fetch(url: str, cookie: str | None, *, timeout_s: float = 20.0) -> PageResponse:
    """What the server at `url`, on loopback, answers; 502 where it answers nothing."""
    headers = {"Cookie": cookie} if cookie else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _StayThere())
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            kind = answer.headers.get("Content-Type", "application/octet-stream")
            return PageResponse(f"{answer.status} OK", {"Content-Type": kind}, answer.read())
    except urllib.error.HTTPError as error:
        kind = error.headers.get("Content-Type", "text/plain")
        return PageResponse(f"{error.code} {error.reason}", {"Content-Type": kind}, error.read())
    except OSError as error:
        raise RejectedRequestError("BadGateway", f"{url} does not answer: {error}", 502) from error


def _with_query(rest: str, environ: Environ) -> str:
    query = environ.get("QUERY_STRING", "")
    quoted = urllib.parse.quote(rest)
    return f"{quoted}?{query}" if query else quoted


def _json(value: object) -> PageResponse:
    body = json.dumps(value, indent=2).encode()
    return PageResponse("200 OK", {"Content-Type": "application/json"}, body)
