"""Pages of a node's neighbours, through a connection to the node."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from emrctl.remote.errors import UnreachableError
from emrctl.remote.host_keys import HostKey
from emrctl.remote.http_over_ssh import fetch
from emrctl.remote.ssh import Host, Line
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
        """Nobody reads."""


@pytest.fixture
def rest() -> Iterator[int]:
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), _Rest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def line(sshd: Sshd) -> Iterator[Line]:
    def check(_shown: HostKey) -> None:
        """Any will do: that is tested elsewhere."""

    host = Host(node="i-0", address=LOOPBACK, port=sshd.port)
    made = Line(host=host, identities=[sshd.client_key], check=check, again_s=0.05)
    yield made
    made.close()


def test_a_document_comes_whole_and_again(line: Line, rest: int) -> None:
    for _ in range(2):
        assert len(fetch(line, (LOOPBACK, rest), "/json/")["workers"]) == 20_000


def test_it_comes_over_a_new_connection_where_the_old_was_cut(
    line: Line, rest: int, sshd: Sshd
) -> None:
    fetch(line, (LOOPBACK, rest), "/json/")
    sshd.cut()
    assert fetch(line, (LOOPBACK, rest), "/json/")


def test_what_is_no_document_is_an_error(line: Line, rest: int) -> None:
    with pytest.raises(ConnectionError, match="404"):
        fetch(line, (LOOPBACK, rest), "/absent")
    with pytest.raises(ValueError, match="Expecting value"):
        fetch(line, (LOOPBACK, rest), "/page")


def test_a_port_where_nobody_listens_is_silence(line: Line) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnreachableError, match=str(port)):
        fetch(line, (LOOPBACK, port), "/json/")
