"""The emulator's own pages under `/emrctl/`: status, faults, and the pages of YARN and Spark.

Programs send the token in `X-Emrctl-Token`. A browser opens `/emrctl/ui` with a ticket that is
valid for some minutes and gets the cookie that YARN's pages require; then it uses YARN directly.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from emrctl.emulator import faults
from emrctl.emulator.faults import Faults
from emrctl.emulator.server.sigv4 import (
    Application,
    Environ,
    HttpError,
    StartResponse,
    check_host,
    check_origin,
    read_body,
    refuse,
)
from emrctl.errors import EmrctlError, UsageError

PREFIX = "/emrctl/"
_SECONDS = re.compile(r"[0-9]{1,12}")
# Characters that a query may contain; clients can send others, which http.client rejects.
_QUERY_CHARACTERS = "%!$&'()*+,;=:@/?-._~"
# Long enough to read `emrctl show` and click.
_TICKET_S = 600


class ClusterWebServers(Protocol):
    """The web servers of the clusters."""

    def address(self, cluster_id: str, kind: str) -> str | None:
        """Return the address of the cluster's `yarn`, `proxy` or `history`, or None.

        Raise `EmrctlError` if the server cannot be started.
        """

    def cookie(self, address: str) -> str | None:
        """Return the cookie for the server at that address; None for other servers."""


@dataclass(frozen=True, kw_only=True)
class Pages:
    """A WSGI application that serves `/emrctl/` and passes other paths to `inner`."""

    inner: Application
    web_servers: ClusterWebServers
    status: Callable[[], dict[str, Any]]
    faults: Faults
    lose_node: Callable[[str, str, bool], None]
    token: str
    port: int

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Return the page, or the inner application's response."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX):
            return self.inner(environ, start_response)
        try:
            answer = self._page(path[len(PREFIX) :], environ)
        except HttpError as refusal:
            return refuse(environ, start_response, refusal)
        except EmrctlError as error:
            return refuse(environ, start_response, HttpError("BadGateway", error.message, 502))
        start_response(answer.status, [*answer.headers.items()])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _page(self, path: str, environ: Environ) -> PageResponse:
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD") and path not in ("faults", "lost-nodes"):
            raise HttpError("MethodNotAllowed", "This page is read-only.", 405)
        query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", "")))
        if path == "ui":
            # The browser may come from any page: the ticket authenticates the URL.
            check_host(environ, self.port)
            self._check_ticket(query)
            return self._sign_in(query, environ["HTTP_HOST"])
        check_origin(environ, self.port)
        token = environ.get("HTTP_X_EMRCTL_TOKEN", "")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise HttpError("AccessDenied", "The emulator's token is missing or wrong.")
        if path == "ticket":
            return _json({"url": browser_url(self.port, self.token, query.get("to", ""))})
        if path == "status":
            return _json(self.status())
        if path == "faults":
            return self._faults(environ, query.get("kind", ""))
        if path == "lost-nodes" and method == "POST":
            return self._lose_node(environ)
        parts = path.split("/", 3)
        if len(parts) >= 3 and parts[0] == "clusters":
            rest = urllib.parse.quote("".join(parts[3:]))
            search = urllib.parse.quote(environ.get("QUERY_STRING", ""), safe=_QUERY_CHARACTERS)
            return self._forward(parts[1], parts[2], f"{rest}?{search}" if search else rest)
        raise HttpError("NotFound", f"No page {PREFIX}{path}.", 404)

    def _faults(self, environ: Environ, kind: str) -> PageResponse:
        """Return the active faults; POST adds one, DELETE ends all or those of a kind."""
        method = environ["REQUEST_METHOD"]
        if method == "DELETE":
            return _json({"cleared": self.faults.clear(kind)})
        if method == "POST":
            try:
                self.faults.add(faults.from_document(json.loads(read_body(environ))))
            except (ValueError, RecursionError, UsageError) as error:
                raise HttpError("InvalidArgument", str(error), 400) from error
        elif method not in ("GET", "HEAD"):
            raise HttpError("MethodNotAllowed", "Use GET, POST or DELETE.", 405)
        return _json({"faults": self.faults.describe()})

    def _lose_node(self, environ: Environ) -> PageResponse:
        """Terminate the instance `node` of `cluster`, as by a failure or a Spot interruption."""
        try:
            request = json.loads(read_body(environ))
            cluster, node = str(request["cluster"]), str(request["node"])
            self.lose_node(cluster, node, request.get("spot_interruption") is True)
        except (ValueError, KeyError, TypeError, RecursionError, UsageError) as error:
            raise HttpError("InvalidArgument", str(error), 400) from error
        return _json({"node": node})

    def _check_ticket(self, query: Mapping[str, str]) -> None:
        to, until, given = (query.get(name, "") for name in ("to", "until", "ticket"))
        expected = ticket(self.token, to, until)
        valid = hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))
        if not (valid and _SECONDS.fullmatch(until) and time.time() <= int(until)):
            raise HttpError("AccessDenied", "The address has expired. Ask emrctl for another.")

    def _sign_in(self, query: Mapping[str, str], host: str) -> PageResponse:
        """Set the cookie and redirect to the requested page.

        YARN's pages link to 127.0.0.1 and to localhost, and a cookie is valid for one of them.
        """
        to = self._resolved(query.get("to", ""))
        cookie = self.web_servers.cookie(to)
        location = to
        if host.startswith("127.0.0.1"):
            location = f"http://localhost:{self.port}{PREFIX}ui?{urllib.parse.urlencode(query)}"
        if cookie is None:
            raise HttpError("AccessDenied", f"'{to}' is not a page of a cluster of this emulator.")
        headers = {
            "Location": location,
            "Set-Cookie": f"{cookie}; Path=/; HttpOnly; SameSite=Lax",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        }
        return PageResponse("302 Found", headers, b"")

    def _resolved(self, to: str) -> str:
        """Resolve a URL of these pages to the server behind it, which is started if necessary."""
        own = cluster_page(self.port, "", "").removesuffix("/")
        if not to.startswith(own):
            return to
        cluster_id, kind, rest = [*to.removeprefix(own).split("/", 2), "", ""][:3]
        address = self.web_servers.address(cluster_id, kind)
        if address is None:
            return to
        return f"{address}/{rest}" if rest else address

    def _forward(self, cluster_id: str, kind: str, rest: str) -> PageResponse:
        address = self.web_servers.address(cluster_id, kind)
        if address is None:
            raise HttpError("NotFound", f"Cluster {cluster_id} has no '{kind}' now.", 404)
        return fetch(f"{address}/{rest}", self.web_servers.cookie(address))


def cluster_page(port: int, cluster_id: str, page: str) -> str:
    """Return the URL of a cluster's `yarn`, `history` or `proxy/<application>` for `browser_url`.

    The server behind it is started when the browser opens the URL.
    """
    return f"http://127.0.0.1:{port}{PREFIX}clusters/{cluster_id}/{page}"


def browser_url(port: int, token: str, to: str) -> str:
    """Return a URL that signs a browser in and redirects to `to`, a page of YARN or Spark.

    It expires, so that the browser's history holds no valid credentials.
    """
    until = str(int(time.time()) + _TICKET_S)
    query = urllib.parse.urlencode({"to": to, "until": until, "ticket": ticket(token, to, until)})
    return f"http://127.0.0.1:{port}{PREFIX}ui?{query}"


def ticket(token: str, to: str, until: str) -> str:
    """Return the ticket for one URL until a time, derived from the token."""
    return hmac.new(
        token.encode(), f"{until} {to}".encode("utf-8", "replace"), hashlib.sha256
    ).hexdigest()


@dataclass(frozen=True)
class PageResponse:
    """A response."""

    status: str
    headers: Mapping[str, str]
    body: bytes


class _SameServerRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the same server only, since the cookie is for that server."""

    def redirect_request(self, *arguments: Any, **options: Any) -> Any:
        """Return the next request; None for a redirect to another server."""
        request, *_, new_url = arguments
        if urllib.parse.urlsplit(new_url).netloc != request.host:
            return None
        return super().redirect_request(*arguments, **options)


def fetch(url: str, cookie: str | None, *, timeout_s: float = 20.0) -> PageResponse:
    """Return the response of a server on loopback; 502 if it does not answer."""
    headers = {"Cookie": cookie} if cookie else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _SameServerRedirects())
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            kind = answer.headers.get("Content-Type", "application/octet-stream")
            return PageResponse(f"{answer.status} OK", {"Content-Type": kind}, answer.read())
    except urllib.error.HTTPError as error:
        kind = error.headers.get("Content-Type", "text/plain")
        return PageResponse(f"{error.code} {error.reason}", {"Content-Type": kind}, error.read())
    except (OSError, http.client.HTTPException) as error:
        raise HttpError("BadGateway", f"{url} does not answer: {error}", 502) from error


def _json(value: object) -> PageResponse:
    body = json.dumps(value, indent=2).encode()
    return PageResponse("200 OK", {"Content-Type": "application/json"}, body)
