"""Forward a loopback port to an address as seen from the node, over SSH.

Every user of this machine and every page in a browser can connect to a loopback port. Only
connections of this user are forwarded, and only requests whose Host header is a loopback address:
another name could be made to point here by any web page (DNS rebinding).
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emrctl.errors import EmrctlError
from emrctl.ports import LOOPBACK, peer_user
from emrctl.remote.ssh import SshConnection, open_channel

_CHUNK = 32_768
_CHECK_S = 1.0
_HEAD_BYTES, _HEAD_S = 65_536, 10.0
_HOST = re.compile(
    rb"\r\nhost:[ \t]*(?:127(?:\.\d{1,3}){3}|localhost|\[::1\])(?::\d+)?[ \t]*\r\n", re.IGNORECASE
)
_REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(eq=False)
class Tunnel:
    """Forwards `LOOPBACK:port` to `remote` over the connection, until it is closed.

    Uses the remote port's number if it is free, otherwise any free port.
    """

    connection: SshConnection
    remote: tuple[str, int]
    report: Callable[[str], None] = lambda _line: None
    port: int = 0
    _listener: socket.socket | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def open(self) -> int:
        """Start forwarding once the remote address accepts a connection; return the port."""
        open_channel(self.connection, self.remote).close()
        self._listener = _listen(self.port or self.remote[1])
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self.port

    def keep(self, until: threading.Event) -> None:
        """Reconnect whenever the connection is lost, until the event; then close."""
        try:
            while not until.wait(_CHECK_S):
                if not self.connection.alive:
                    self.connection.transport()
        finally:
            self.close()

    def close(self) -> None:
        """Stop listening and close the connection."""
        self.release()
        self.connection.close()

    def release(self) -> None:
        """Stop listening; the connection stays open."""
        self._stop.set()
        if self._listener is not None:
            # Closing a socket does not wake a thread in accept; shutdown does.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - set by open()
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if not _is_allowed(client):
            with contextlib.suppress(OSError):
                client.sendall(_REFUSED)
                client.recv(_HEAD_BYTES)  # closing it with unread data would discard the answer
            client.close()
            return
        try:
            channel = open_channel(self.connection, self.remote)
        except EmrctlError as error:
            self.report(error.message)
            client.close()
            return
        backward = threading.Thread(target=_pump, args=(channel, client), daemon=True)
        backward.start()
        _pump(client, channel)
        backward.join()
        client.close()
        with contextlib.suppress(OSError, EOFError):  # the connection may be lost meanwhile
            channel.close()


def _is_allowed(client: socket.socket) -> bool:
    """Return whether a connection is this user's and its first request is to a loopback address.

    The following requests of a connection are to the same host: browsers keep them apart.
    """
    if sys.platform == "linux" and peer_user(client) != os.geteuid():
        return False
    deadline, head = time.monotonic() + _HEAD_S, b""
    client.settimeout(_HEAD_S)
    try:
        while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
            received = client.recv(_HEAD_BYTES, socket.MSG_PEEK)
            if received == head:  # the client has sent nothing else, or has closed the connection
                time.sleep(0.01)
            if not received or time.monotonic() > deadline:
                return False
            head = received
    except OSError:
        return False
    client.settimeout(None)
    return _HOST.search(head) is not None


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((LOOPBACK, port))
    except OSError:  # in use
        listener.bind((LOOPBACK, 0))
    listener.listen()
    return listener


def _pump(source: Any, sink: Any) -> None:
    """Copy `source` to `sink`, including the end of the stream."""
    with contextlib.suppress(OSError, EOFError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError, EOFError):
        sink.shutdown(socket.SHUT_WR)
