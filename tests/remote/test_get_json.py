"""JSON over HTTP through an SSH connection."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from emrctl.errors import UnreachableError
from emrctl.remote.host_keys import HostKey
from emrctl.remote.ssh import SshConnection, SshHost, get_json
from tests.remote.sshd import Sshd

LOOPBACK = "127.0.0.1"


class _Rest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        known = {"/json/": json.dumps({"workers": ["w"] * 20_000}), "/page": "<html>"}
        body = known.get(self.path, "").encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Discard the access log."""


@pytest.fixture
def rest() -> Iterator[int]:
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), _Rest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def line(sshd: Sshd) -> Iterator[SshConnection]:
    def check(_shown: HostKey) -> None:
        """Accept any host key."""

    host = SshHost(node="i-0", address=LOOPBACK, port=sshd.port)
    made = SshConnection(host=host, identities=[sshd.client_key], check=check, retry_s=0.05)
    yield made
    made.close()


def test_get_json_repeated_returns_whole_document(line: SshConnection, rest: int) -> None:
    for _ in range(2):
        assert len(get_json(line, (LOOPBACK, rest), "/json/")["workers"]) == 20_000


def test_get_json_reconnects_after_lost_connection(
    line: SshConnection, rest: int, sshd: Sshd
) -> None:
    get_json(line, (LOOPBACK, rest), "/json/")
    sshd.cut()
    assert get_json(line, (LOOPBACK, rest), "/json/")


def test_get_json_rejects_error_status_and_invalid_json(line: SshConnection, rest: int) -> None:
    with pytest.raises(ConnectionError, match="404"):
        get_json(line, (LOOPBACK, rest), "/absent")
    with pytest.raises(ValueError, match="Expecting value"):
        get_json(line, (LOOPBACK, rest), "/page")


def test_get_json_closed_port_raises_unreachable(line: SshConnection) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnreachableError, match=str(port)):
        get_json(line, (LOOPBACK, port), "/json/")
