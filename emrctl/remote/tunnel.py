"""Forward a loopback port to an address as seen from the node, over SSH."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emrctl.errors import EmrctlError
from emrctl.ports import LOOPBACK
from emrctl.remote.ssh import SshConnection, open_channel

_CHUNK = 32_768
_CHECK_S = 1.0


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
