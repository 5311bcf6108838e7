"""A port of this machine, on loopback, that leads to a page as the node sees it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emrctl.errors import EmrctlError
from emrctl.ports import LOOPBACK
from emrctl.remote import ssh as lines
from emrctl.remote.ssh import Line

_CHUNK = 32_768
_LOOK_S = 1.0


@dataclass(eq=False)
class Tunnel:
    """Forwards `LOOPBACK:port` to `remote` over the line, until it is closed.

    The page's own port is taken where it is free, else any.
    """

    line: Line
    remote: tuple[str, int]
    report: Callable[[str], None] = lambda _line: None
    port: int = 0
    _listener: socket.socket | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def open(self) -> int:
        """It forwards, and the page answered to a first connection; its port."""
        lines.channel(self.line, self.remote).close()
        self._listener = _bound(self.port or self.remote[1])
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self.port

    def keep(self, until: threading.Event) -> None:
        """The line stands, made again whenever it is cut, until the event; then all is closed."""
        try:
            while not until.wait(_LOOK_S):
                if not self.line.alive:
                    self.line.transport()
        finally:
            self.close()

    def close(self) -> None:
        """Nothing listens any more, and the line is closed."""
        self.release()
        self.line.close()

    def release(self) -> None:
        """Nothing listens any more; the line stands for others."""
        self._stop.set()
        if self._listener is not None:
            # A closed socket does not wake whoever waits in accept; this does.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - open() bound it
        while not self._stop.is_set():
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        try:
            channel = lines.channel(self.line, self.remote)
        except EmrctlError as error:
            self.report(error.message)
            taken.close()
            return
        back = threading.Thread(target=_pump, args=(channel, taken), daemon=True)
        back.start()
        _pump(taken, channel)
        back.join()
        taken.close()
        with contextlib.suppress(OSError, EOFError):  # the line may be cut at this very moment
            channel.close()


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((LOOPBACK, port))
    except OSError:  # taken
        listener.bind((LOOPBACK, 0))
    listener.listen()
    return listener


def _pump(source: Any, sink: Any) -> None:
    """All that `source` says reaches `sink`, its end included."""
    with contextlib.suppress(OSError, EOFError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError, EOFError):
        sink.shutdown(socket.SHUT_WR)
