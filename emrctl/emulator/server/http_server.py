"""HTTP/1.1 for WSGI applications on a loopback port, with persistent connections.

werkzeug's server closes each connection after one request and parses headers as e-mail. That costs
more than a small request to S3. Each connection has a thread. Request bodies are read from the
socket by the application; responses of files are sent by the kernel (`FileBody`).
"""

from __future__ import annotations

import contextlib
import functools
import http
import io
import logging
import os
import re
import socket
import socketserver
import sys
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from emrctl.emulator.server.sigv4 import HEADERS_KEY, Application, Environ

_log = logging.getLogger(__name__)

_LINE_BYTES = 65_536
_HEADER_LINES = 200
# The rest of a request's body is read up to this size; otherwise the connection is closed.
_DRAIN_BYTES = 1 << 20
_REQUEST_LINE = re.compile(r"([A-Z]{1,20}) ([^ ]+) HTTP/1\.([01])", re.ASCII)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpServer(socketserver.ThreadingTCPServer):
    """A server that answers 503 until `app` is replaced by the real application."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, app: Application) -> None:
        """Listen on 127.0.0.1."""
        super().__init__(("127.0.0.1", port), _Connection)
        self.app = app

    @property
    def port(self) -> int:
        """The port, also if any free one was requested."""
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log the error of a connection, unless the client has closed it."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            _log.exception("connection of %s", client_address)


@dataclass(frozen=True)
class FileBody:
    """A response's body: byte ranges of open files, which are closed afterwards.

    The ranges are (file descriptor, offset, number of bytes).
    """

    ranges: tuple[tuple[int, int, int], ...]
    files: tuple[int, ...]

    def close(self) -> None:
        """Close the files."""
        for descriptor in self.files:
            os.close(descriptor)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content in blocks, for servers other than `HttpServer`."""
        for descriptor, start, size in self.ranges:
            for offset in range(start, start + size, _DRAIN_BYTES):
                yield os.pread(descriptor, min(_DRAIN_BYTES, start + size - offset), offset)

    def send(self, connection: socket.socket) -> None:
        """Send the content."""
        for descriptor, start, size in self.ranges:
            offset, end = start, start + size
            while offset < end:
                sent = os.sendfile(connection.fileno(), descriptor, offset, end - offset)
                if sent == 0:
                    raise ConnectionError("a file is shorter than its recorded size")
                offset += sent


class _BadRequestError(Exception):
    """A request that is not HTTP/1.1; the connection is closed."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class RequestBody:
    """A body of known length; the interim response 100 is sent when it is first read."""

    def __init__(
        self, stream: io.BufferedIOBase, length: int, expects: socket.socket | None
    ) -> None:
        self._stream = stream
        self._expects = expects
        self.left = length

    @property
    def refused(self) -> bool:
        """Whether the client still waits for the interim response, and sends no body."""
        return self._expects is not None

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, fewer only at the end of the body or of the connection."""
        if self._expects is not None:
            self._expects.sendall(_CONTINUE)
            self._expects = None
        wanted = self.left if size < 0 else min(size, self.left)
        if not wanted:
            return b""
        data = self._stream.read(wanted)
        self.left -= len(data)
        if len(data) < wanted:
            self.left = 0
        return data

    def readline(self, size: int = -1) -> bytes:
        """Return the next line."""
        self.read(0)
        line = self._stream.readline(self.left if size < 0 else min(size, self.left))
        self.left -= len(line)
        return line

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines."""
        return iter(self.readline, b"")


class _Connection(socketserver.StreamRequestHandler):
    """Answers the requests of one connection, one after another."""

    server: HttpServer
    rbufsize = 65_536
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer requests until the client closes the connection."""
        with contextlib.suppress(ConnectionError):
            while self._answer():
                pass

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def _answer(self) -> bool:
        """Answer one request; return whether the connection can be used for another one."""
        try:
            environ = self._read_request()
        except _BadRequestError as error:
            self._send_head(f"{error.status} {http.HTTPStatus(error.status).phrase}", [], b"")
            return False
        if environ is None:
            return False
        body = environ["wsgi.input"]
        keep_alive = environ["SERVER_PROTOCOL"] == "HTTP/1.1"
        keep_alive &= environ.get("HTTP_CONNECTION", "").lower() != "close"
        response = _Response(self, environ, keep_alive=keep_alive)
        response.run(self.server.app)
        return response.keep_alive and _drained(body)

    def _read_request(self) -> Environ | None:
        """Return the WSGI environment of the next request; None if the client has closed."""
        line = self.rfile.readline(_LINE_BYTES)
        if line in (b"\r\n", b"\n"):  # clients may send an empty line after a body
            line = self.rfile.readline(_LINE_BYTES)
        if not line:
            return None
        match = _REQUEST_LINE.fullmatch(line.decode("latin-1").rstrip("\r\n"))
        if match is None:
            raise _BadRequestError(414 if len(line) == _LINE_BYTES else 400)
        method, uri, minor = match.groups()
        environ = self._environ(method, uri, f"HTTP/1.{minor}")
        _add_headers(environ, self._read_headers())
        self._add_body(environ)
        return environ

    def _read_headers(self) -> dict[str, str]:
        """Return the headers by lower-case name; repeated ones are joined with commas."""
        headers: dict[str, str] = {}
        readline = self.rfile.readline
        for _ in range(_HEADER_LINES):
            line = readline(_LINE_BYTES)
            if line in (b"\r\n", b"\n"):
                return headers
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or line[-1:] != b"\n" or not _NAME.fullmatch(name):
                raise _BadRequestError(400)
            name, value = name.lower(), value.strip(" \t\r\n")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        raise _BadRequestError(431)

    def _environ(self, method: str, uri: str, protocol: str) -> Environ:
        host = None
        path, _, query = uri.partition("?")
        if not uri.startswith("/"):
            absolute = re.match(r"[a-z]+://([^/?]*)", uri)
            host, path = (absolute[1], path[absolute.end() :] or "/") if absolute else (None, path)
        environ = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": urllib.parse.unquote(path, "latin-1") if "%" in path else path,
            "QUERY_STRING": query,
            "REQUEST_URI": uri,
            "RAW_URI": uri,
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.server.port),
            "SERVER_PROTOCOL": protocol,
        }
        if host is not None:
            environ["HTTP_HOST"] = host
        return environ

    def _add_body(self, environ: Environ) -> None:
        expected = environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        coding = environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        if coding:
            if coding != "chunked" or "CONTENT_LENGTH" in environ:
                raise _BadRequestError(400)
            from werkzeug.serving import DechunkedInput

            if expected:
                self.request.sendall(_CONTINUE)
            environ["wsgi.input"] = DechunkedInput(self.rfile)  # type: ignore[arg-type]
            environ["wsgi.input_terminated"] = True
            return
        length = environ.get("CONTENT_LENGTH", "0")
        if not _LENGTH.fullmatch(length):
            raise _BadRequestError(400)
        connection = self.request if expected and int(length) else None
        environ["wsgi.input"] = RequestBody(self.rfile, int(length), connection)

    def _send_head(self, status: str, headers: Iterable[tuple[str, str]], first: bytes) -> None:
        """Send the status line, the headers and the first part of the body in one packet."""
        lines = [f"HTTP/1.1 {status}", f"Date: {_http_date(int(time.time()))}"]
        lines += [f"{name}: {value}" for name, value in headers]
        head = "\r\n".join(line.replace("\r", " ").replace("\n", " ") for line in lines)
        self.request.sendall(f"{head}\r\n\r\n".encode("latin-1", "replace") + first)


class _Response:
    """The response of one request."""

    def __init__(self, connection: _Connection, environ: Environ, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self._connection = connection
        self._environ = environ
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._head_sent = False
        self._chunked = False

    def run(self, app: Application) -> None:
        """Send the application's response."""
        body: Any = None
        try:
            body = app(self._environ, self._start)
            self._send(body)
        except ConnectionError:
            self.keep_alive = False
        except Exception:
            self.keep_alive = False
            if self._head_sent:
                raise
            _log.exception("%s %s", self._environ["REQUEST_METHOD"], self._environ["PATH_INFO"])
            self._connection._send_head("500 Internal Server Error", _NO_CONTENT, b"")  # noqa: SLF001
        finally:
            if hasattr(body, "close"):
                body.close()

    def _start(self, status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
        self._status, self._headers = status, headers

    def _send(self, body: Any) -> None:
        if isinstance(body, FileBody):
            self._send_head(b"", length=None)
            body.send(self._connection.request)
            return
        parts = body if isinstance(body, list | tuple) else None
        if parts is not None:
            content = b"".join(parts)
            self._send_head(content, length=len(content))
            return
        for part in body:
            if not self._head_sent:
                self._send_head(b"", length=None)
            if part:
                self._send_part(part)
        if not self._head_sent:
            self._send_head(b"", length=0)
        if self._chunked:
            self._connection.request.sendall(b"0\r\n\r\n")

    def _send_part(self, part: bytes) -> None:
        if self._chunked:
            part = f"{len(part):x}\r\n".encode() + part + b"\r\n"
        self._connection.request.sendall(part)

    def _send_head(self, content: bytes, length: int | None) -> None:
        """Send the head with `content`; without a known length the body is sent in chunks."""
        names = {name.lower() for name, _ in self._headers}
        extra: list[tuple[str, str]] = []
        bodiless = self._environ["REQUEST_METHOD"] == "HEAD" or self._status[:3] in ("204", "304")
        if "content-length" not in names and not bodiless:
            if length is None:
                self._chunked = True
                extra.append(("Transfer-Encoding", "chunked"))
            else:
                extra.append(("Content-Length", str(length)))
        body = self._environ["wsgi.input"]
        if getattr(body, "refused", False) or not self.keep_alive:
            self.keep_alive = False
            extra.append(("Connection", "close"))
        self._head_sent = True
        first = b"" if bodiless else content
        self._connection._send_head(self._status, [*self._headers, *extra], first)  # noqa: SLF001


_NO_CONTENT = [("Content-Length", "0"), ("Connection", "close")]


def _add_headers(environ: Environ, headers: Mapping[str, str]) -> None:
    """Add the headers as WSGI does; of names with an underscore only metadata of S3."""
    environ[HEADERS_KEY] = headers
    for name, value in headers.items():
        if "_" in name:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            if name.startswith("x-amz-meta-") and name.replace("_", "-") not in headers:
                environ[key] = value
        elif name == "content-length":
            environ["CONTENT_LENGTH"] = value
        elif name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name != "host" or "HTTP_HOST" not in environ:
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value


def _drained(body: Any) -> bool:
    """Read the rest of a body; return whether the next request follows it."""
    if not isinstance(body, RequestBody):
        try:
            return len(body.read(_DRAIN_BYTES)) < _DRAIN_BYTES and not body.read(1)
        except OSError:
            return False
    if not body.left:
        return True
    if body.refused or body.left > _DRAIN_BYTES:
        return False
    left = body.left
    return len(body.read()) == left


@functools.lru_cache(maxsize=2)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)
