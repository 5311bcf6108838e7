"""The HTTP server over real sockets: persistent connections, malformed requests, streams."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emrctl.emulator.server.http_server import FileBody, HttpServer


class Echo:
    """Answers with what it has received; `/file` with a file, `/stream` with an iterator."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environ: dict[str, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.environ = environ
        if environ["PATH_INFO"] == "/file":
            descriptor = os.open(self.path, os.O_RDONLY)
            start_response("200 OK", [("Content-Length", "5")])
            return FileBody(((descriptor, 2, 3), (descriptor, 0, 2)), (descriptor,))
        if environ["PATH_INFO"] == "/fail":
            raise ValueError("no")
        if environ["PATH_INFO"] == "/refuse":
            start_response("403 Forbidden", [])
            return [b"refused"]
        start_response("200 OK", [("X-Text", "a\r\nInjected: 1")])
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/stream":
            return iter([b"first ", b"", body])
        return [b"received ", body]


@pytest.fixture
def app(tmp_path: Path) -> Echo:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return Echo(path)


@pytest.fixture
def connection(app: Echo) -> Iterator[socket.socket]:
    server = HttpServer(0, app)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        yield connection
    server.shutdown()
    server.server_close()


def answer(connection: socket.socket, request: bytes) -> tuple[bytes, bytes]:
    """Send a request; return the head and the body, decoded."""
    connection.sendall(request)
    stream = connection.makefile("rb")
    head = b""
    while (line := stream.readline()) not in (b"\r\n", b""):
        head += line
    if b"Transfer-Encoding: chunked" in head:
        body = b""
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return head, body
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    method = request.split(b" ")[0]
    size = int(lengths[0].split(b":")[1]) if lengths and method != b"HEAD" else 0
    return head, stream.read(size)


def closed(connection: socket.socket) -> bool:
    return connection.recv(1) == b""


def test_requests_share_a_connection(connection: socket.socket) -> None:
    for number in range(3):
        body = b"%d" % number * 1000
        head, text = answer(
            connection, b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + body
        )
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert text == b"received " + body


def test_unread_body_is_skipped(connection: socket.socket) -> None:
    request = b"PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n" + bytes(5000)
    assert answer(connection, request)[1] == b"refused"
    assert answer(connection, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n")[1] == b"received "


def test_client_that_expects_continue_gets_it_when_the_body_is_read(
    connection: socket.socket,
) -> None:
    head = b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    connection.sendall(head)
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer(connection, b"body")[1] == b"received body"


def test_refused_upload_gets_no_continue_and_closes(connection: socket.socket) -> None:
    head, body = answer(
        connection,
        b"PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    )
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"Connection: close" in head
    assert body == b"refused"
    assert closed(connection)


def test_chunked_bodies_both_ways(connection: socket.socket) -> None:
    request = b"PUT /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    request += b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert answer(connection, request)[1] == b"first abcde"
    assert answer(connection, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")[1] == b"received "


def test_file_ranges_are_sent_in_order(connection: socket.socket) -> None:
    assert answer(connection, b"GET /file HTTP/1.1\r\nHost: h\r\n\r\n")[1] == b"23401"
    assert list(FileBody((), ())) == []


def test_head_and_http_1_0(connection: socket.socket) -> None:
    head, body = answer(connection, b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b""
    head, body = answer(connection, b"GET /a HTTP/1.0\r\nHost: h\r\n\r\n")
    assert body == b"received "
    assert closed(connection)


def test_headers_are_those_of_wsgi_and_by_original_name(
    connection: socket.socket, app: Echo
) -> None:
    head, _ = answer(
        connection,
        b"GET http://other/p%C3%A4th%2F?q=%20 HTTP/1.1\r\nHost: h\r\nX-Amz-Meta-my_key: 1\r\n"
        b"X_Amz_Date: spoofed\r\nA: 1\r\na: 2\r\nContent-Type: t\r\n\r\n",
    )
    assert b"\r\nInjected" not in head
    environ = app.environ
    assert environ["HTTP_HOST"] == "other"
    assert environ["PATH_INFO"] == "/p\xc3\xa4th/"
    assert environ["RAW_URI"] == "http://other/p%C3%A4th%2F?q=%20"
    assert environ["QUERY_STRING"] == "q=%20"
    assert (environ["HTTP_A"], environ["CONTENT_TYPE"]) == ("1,2", "t")
    assert environ["HTTP_X_AMZ_META_MY_KEY"] == "1"
    assert "HTTP_X_AMZ_DATE" not in environ
    assert environ["emrctl.headers"]["x-amz-meta-my_key"] == "1"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nA : 1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n folded: 1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 201 + b"\r\n", b"431"),
    ],
)
def test_malformed_requests_are_rejected_and_close(
    connection: socket.socket, request_: bytes, status: bytes
) -> None:
    connection.sendall(request_)
    received = connection.recv(100)
    assert received.startswith(b"HTTP/1.1 " + status)


def test_exception_of_the_application_is_500_and_closes(connection: socket.socket) -> None:
    head, _ = answer(connection, b"GET /fail HTTP/1.1\r\nHost: h\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500")
    assert closed(connection)


def test_cut_body_is_short(connection: socket.socket, app: Echo) -> None:
    connection.sendall(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc")
    connection.shutdown(socket.SHUT_WR)
    assert b"received abc" in connection.recv(1000)
