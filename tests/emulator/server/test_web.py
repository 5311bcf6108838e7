from __future__ import annotations

import io
import json
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from emrctl.emulator.faults import Faults, Throttle
from emrctl.emulator.server import web
from emrctl.emulator.server.web import PageResponse, Pages
from emrctl.errors import UsageError

TOKEN = "t0ken"


@dataclass
class Doors:
    def address(self, cluster_id: str, kind: str) -> str | None:
        return "http://127.0.0.1:9" if (cluster_id, kind) == ("j-1", "yarn") else None

    def cookie(self, address: str) -> str | None:
        return 'hadoop.auth="x"' if address.startswith("http://127.0.0.1:9") else None


lost: list[tuple[str, str, bool]] = []


def lose_node(cluster: str, node: str, spot_interruption: bool) -> None:
    if node != "i-1":
        raise UsageError(f"cluster {cluster} has no instance {node}")
    lost.append((cluster, node, spot_interruption))


def inner(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    start("200 OK", [])
    return [b"aws"]


def get(path: str, method: str = "GET", **headers: str) -> tuple[str, dict[str, str], bytes]:
    return send(Faults(), path, method, **headers)


def send(
    faults: Faults, path: str, method: str, **values: Any
) -> tuple[str, dict[str, str], bytes]:
    path, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_HOST": "127.0.0.1:5555",
        "wsgi.input": io.BytesIO(),
        **values,
    }
    seen: list[Any] = []
    application = Pages(
        inner=inner,
        web_servers=Doors(),
        status=lambda: {"clusters": []},
        faults=faults,
        lose_node=lose_node,
        token=TOKEN,
        port=5555,
    )
    content = application(environ, lambda *answer: seen.append(answer))
    status, answered = seen[0]
    return status, dict(answered), b"".join(content)


def test_other_paths_go_to_inner_application() -> None:
    assert get("/bucket/key")[2] == b"aws"


def test_status_requires_token() -> None:
    assert get("/emrctl/status")[0] == "403 Forbidden"
    assert get("/emrctl/status", HTTP_X_EMRCTL_TOKEN="wrong")[0] == "403 Forbidden"
    status, _, body = get("/emrctl/status", HTTP_X_EMRCTL_TOKEN=TOKEN)
    assert (status, json.loads(body)) == ("200 OK", {"clusters": []})


@pytest.mark.parametrize(
    "change", [{"HTTP_HOST": "evil.example:5555"}, {"HTTP_ORIGIN": "http://evil.example"}]
)
def test_token_from_web_page_is_rejected(change: dict[str, str]) -> None:
    assert get("/emrctl/status", HTTP_X_EMRCTL_TOKEN=TOKEN, **change)[0] == "403 Forbidden"


def test_post_is_not_allowed() -> None:
    assert get("/emrctl/status", "POST", HTTP_X_EMRCTL_TOKEN=TOKEN)[0].startswith("405")


def test_faults_require_token() -> None:
    faults = Faults()
    faults.add(Throttle(percent=10))
    for method in ("GET", "POST", "DELETE"):
        assert send(faults, "/emrctl/faults", method)[0] == "403 Forbidden"
    origin = {"HTTP_X_EMRCTL_TOKEN": TOKEN, "HTTP_ORIGIN": "http://evil.example"}
    assert send(faults, "/emrctl/faults", "DELETE", **origin)[0] == "403 Forbidden"
    assert len(faults.describe()) == 1
    assert send(faults, "/emrctl/faults", "PUT", HTTP_X_EMRCTL_TOKEN=TOKEN)[0].startswith("405")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b'{"kind": ["throttle"]}',
        b'{"kind": "throttle"}',
        b'{"kind": "throttle", "percent": 0}',
        b'{"kind": "throttle", "percent": "5"}',
        b'{"kind": "throttle", "percent": true}',
        b'{"kind": "throttle", "percent": 5, "service": ["s3"]}',
        b'{"kind": "slow-s3"}',
        b'{"kind": "slow-s3", "delay": NaN}',
        b'{"kind": "capacity", "reason": "none", "more": 1}',
    ],
)
def test_invalid_fault_is_rejected(body: bytes) -> None:
    faults = Faults()
    values = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    headers = {"HTTP_X_EMRCTL_TOKEN": TOKEN}
    status, _, _ = send(faults, "/emrctl/faults", "POST", **values, **headers)
    assert status.startswith("400")
    assert faults.describe() == []


def test_unknown_pages_and_clusters_return_404() -> None:
    for path in ("/emrctl/nothing", "/emrctl/clusters/j-2/yarn/", "/emrctl/clusters/j-1/shell/"):
        assert get(path, HTTP_X_EMRCTL_TOKEN=TOKEN)[0].startswith("404")


def test_forward_sends_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def fetch(url: str, cookie: str | None) -> PageResponse:
        asked.append((url, cookie))
        return PageResponse("200 OK", {}, b"nodes")

    monkeypatch.setattr(web, "fetch", fetch)
    path = "/emrctl/clusters/j-1/yarn/ws/v1/cluster/apps?states=RUNNING"
    assert get(path, HTTP_X_EMRCTL_TOKEN=TOKEN)[2] == b"nodes"
    address = "http://127.0.0.1:9/ws/v1/cluster/apps?states=RUNNING"
    assert asked == [(address, 'hadoop.auth="x"')]


def test_forward_unavailable_server_returns_502() -> None:
    path = "/emrctl/clusters/j-1/yarn/cluster"
    assert get(path, HTTP_X_EMRCTL_TOKEN=TOKEN)[0].startswith("502")


def ui(to: str, until: int | None = None, token: str = TOKEN, **headers: str) -> Any:
    stamp = str(until or int(time.time()) + 60)
    query = {"to": to, "until": stamp, "ticket": web.ticket(token, to, stamp)}
    return get(f"/emrctl/ui?{urllib.parse.urlencode(query)}", **headers)


def test_ticket_sets_cookie_for_both_host_names() -> None:
    to = "http://127.0.0.1:9/cluster"
    status, headers, _ = ui(to, HTTP_SEC_FETCH_SITE="cross-site")
    assert status == "302 Found"
    assert headers["Set-Cookie"] == 'hadoop.auth="x"; Path=/; HttpOnly; SameSite=Lax'
    assert headers["Location"].startswith("http://localhost:5555/emrctl/ui?")
    assert TOKEN not in headers["Location"]
    assert ui(to, HTTP_HOST="localhost:5555")[1]["Location"] == to


def test_ticket_resolves_cluster_page() -> None:
    here = "http://127.0.0.1:5555/emrctl/clusters/j-1/yarn"
    assert ui(here, HTTP_HOST="localhost:5555")[1]["Location"] == "http://127.0.0.1:9"
    page = web.cluster_page(5555, "j-1", "yarn/proxy/application_1_1/")
    location = ui(page, HTTP_HOST="localhost:5555")[1]["Location"]
    assert location == "http://127.0.0.1:9/proxy/application_1_1/"
    assert ui(f"{here}x", HTTP_HOST="localhost:5555")[0] == "403 Forbidden"


def test_tickets_expire_and_cannot_be_forged() -> None:
    to = "http://127.0.0.1:9/cluster"
    assert ui(to, until=int(time.time()) - 1)[0] == "403 Forbidden"
    assert ui(to, token="guess")[0] == "403 Forbidden"
    assert ui("http://evil.example/")[0] == "403 Forbidden"
    assert get("/emrctl/ui")[0] == "403 Forbidden"


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"cluster": "j-1", "node": "i-1", "spot_interruption": True}, "200 OK"),
        ({"cluster": "j-1", "node": "i-2"}, "400 Error"),
        ({"cluster": "j-1"}, "400 Error"),
        ([], "400 Error"),
    ],
)
def test_lost_nodes_require_token_and_instance(document: Any, status: str) -> None:
    lost.clear()
    body = json.dumps(document).encode()
    for token, expected in (("wrong", "403 Forbidden"), (TOKEN, status)):
        values = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        headers = {"HTTP_X_EMRCTL_TOKEN": token}
        answer = send(Faults(), "/emrctl/lost-nodes", "POST", **values, **headers)
        assert answer[0] == expected
    assert lost == ([("j-1", "i-1", True)] if status == "200 OK" else [])
