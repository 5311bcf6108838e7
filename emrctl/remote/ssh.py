"""An SSH connection that is made again when it is cut, and what goes over it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from emrctl.aws.polling import Pace
from emrctl.ports import LOOPBACK
from emrctl.remote.errors import HostKeyError, UnreachableError
from emrctl.remote.host_keys import HostKey, known

if TYPE_CHECKING:
    from paramiko import Channel, PKey, SFTPClient, Transport

_CONNECT_S, _HANDSHAKE_S = 10.0, 20.0
_KEEPALIVE_S = 15
# How long what was sent may stay unanswered before the connection counts as cut.
_UNANSWERED_MS = 60_000
# What a shell and OpenSSH's client make of a command that a signal ended.
_BY_SIGNAL = 255
_AGAIN_S, _TRIES = 1.0, 8
_CHUNK = 32_768

Check = Callable[[HostKey], None]


class Sink(Protocol):
    """Takes what a command writes, as it writes it."""

    def write(self, text: bytes, /) -> object:
        """It has the text."""

    def flush(self) -> object:
        """Nothing of it is held back."""


class Door(Protocol):
    """Leads from a port of this machine's loopback to the node's SSH server."""

    def open(self) -> int:
        """The port, which answers; `UnreachableError` where it does not come about."""

    def close(self) -> None:
        """Nothing is left of it; it may be opened again."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A node: its id, where its SSH server answers, and who one is there."""

    node: str
    address: str
    port: int = 22
    user: str = "hadoop"


@dataclass(eq=False)
class Line:
    """A connection to `host`, made when it is first needed and again whenever it was cut.

    `through` is a line to a host on the way, `door` what leads there where no port of the node is
    open to this machine. `check` raises where the host key is not the node's.
    """

    host: Host
    identities: Sequence[Path]
    check: Check
    through: Line | None = None
    door: Door | None = None
    report: Callable[[str], None] = lambda _line: None
    again_s: float = _AGAIN_S
    _transport: Transport | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    @property
    def alive(self) -> bool:
        """Whether it stands now."""
        return self._transport is not None and self._transport.is_active()

    @property
    def cut(self) -> bool:
        """Whether it stood once and does not any more."""
        return self._transport is not None and not self._transport.is_active()

    def transport(self) -> Transport:
        """The connection; `UnreachableError` where there is none to be had."""
        with self._lock:
            if self._transport is not None and self._transport.is_active():
                return self._transport
            again = self._transport is not None
            if again:
                self.report(f"the connection to {self.host.node} was cut: connecting again")
            self._transport = self._patiently() if again else self._connected()
            return self._transport

    def close(self) -> None:
        """Nothing of it is left, and it is not made again."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()
        if self.through is not None:
            self.through.close()
        if self.door is not None:
            self.door.close()

    def run(self, command: str, out: Sink, err: Sink, stdin: bytes = b"") -> int:
        """The command has run on the node with that input; its exit code.

        `UnreachableError` where the connection was cut before anybody knew how it ended.
        """
        try:
            return self._run(self._session(), command, (out, err), stdin)
        except (EOFError, OSError) as error:
            raise self._cut() from error

    def _run(self, channel: Channel, command: str, sinks: tuple[Sink, Sink], stdin: bytes) -> int:
        channel.exec_command(command)
        errors = threading.Thread(target=_copy, args=(channel.recv_stderr, sinks[1]), daemon=True)
        pumps = (errors, threading.Thread(target=_feed, args=(channel, stdin), daemon=True))
        for pump in pumps:
            pump.start()
        _copy(channel.recv, sinks[0])
        for pump in pumps:
            pump.join()
        code = channel.recv_exit_status()
        if code < 0 and not self.alive:
            raise self._cut()
        return code if code >= 0 else _BY_SIGNAL

    def _session(self) -> Channel:
        import paramiko

        try:
            return self.transport().open_session(timeout=_HANDSHAKE_S)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self.alive:
                raise UnreachableError(f"{self.host.node} opens no session: {error}") from error
        return self.transport().open_session(timeout=_HANDSHAKE_S)

    def files(self) -> SFTPClient:
        """The node's files over SFTP; relative paths begin in the user's home."""
        import paramiko

        try:
            found = paramiko.SFTPClient.from_transport(self.transport())
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise UnreachableError(f"{self.host.node} has no SFTP: {error}") from error
        assert found is not None  # noqa: S101 - only of a transport that is not authenticated
        return found

    def _cut(self) -> UnreachableError:
        return UnreachableError(
            f"the connection to {self.host.node} was cut",
            hint="What runs there detached goes on. Try the same command again.",
        )

    def _patiently(self) -> Transport:
        pace = Pace(self.again_s)
        for _ in range(_TRIES - 1):
            try:
                return self._connected()
            except HostKeyError:
                raise
            except UnreachableError as error:
                if self._closed:
                    raise
                pace.refused(error)
            pace.rest()
        return self._connected()

    def _connected(self) -> Transport:
        import paramiko

        transport = paramiko.Transport(self._socket())
        try:
            self._greeted(transport)
            self._logged_in(transport)
        except BaseException:
            transport.close()
            raise
        transport.set_keepalive(_KEEPALIVE_S)
        return transport

    def _socket(self) -> Any:
        where = (self.host.address, self.host.port)
        if self.through is not None:
            return _channel(self.through.transport(), where)
        if self.door is not None:
            self.door.close()  # what led there before, if anything did, is cut
            where = (LOOPBACK, self.door.open())
        try:
            return _prompt(socket.create_connection(where, timeout=_CONNECT_S))
        except OSError as error:
            msg = f"port {where[1]} of {where[0]} does not answer ({error})"
            hint = "Its security group lets nobody in, or it has no address that you can reach."
            raise UnreachableError(msg, hint=hint) from error

    def _greeted(self, transport: Transport) -> None:
        import paramiko

        options = transport.get_security_options()
        # The type that is remembered is asked for first: another one would look like a change.
        types = {key.type for key in known(self.host.node)}
        types |= {"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in types else set()
        options.key_types = tuple(sorted(options.key_types, key=lambda kind: kind not in types))
        try:
            transport.start_client(timeout=_HANDSHAKE_S)
        except (paramiko.SSHException, EOFError, OSError) as error:
            msg = f"{self.host.node} speaks no SSH that emrctl knows ({error})"
            raise UnreachableError(msg) from error
        shown = transport.get_remote_server_key()
        self.check(HostKey(type=shown.get_name(), text=shown.get_base64()))

    def _logged_in(self, transport: Transport) -> None:
        import paramiko

        tried = []
        for name, key in keys(self.identities):
            tried.append(name)
            try:
                transport.auth_publickey(self.host.user, key)
            except paramiko.AuthenticationException:
                continue
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise UnreachableError(f"{self.host.node} broke off: {error}") from error
            return
        msg = f"{self.host.node} takes none of the keys for {self.host.user}: {', '.join(tried)}"
        raise UnreachableError(
            msg if tried else f"there is no key here to log in to {self.host.node} with",
            hint="Name the private half of the cluster's key pair: --identity FILE.",
        )


def keys(identities: Sequence[Path]) -> list[tuple[str, PKey]]:
    """The private keys of these files, then those of the user's agent."""
    import paramiko

    found: list[tuple[str, PKey]] = []
    for path in identities:
        try:
            found.append((str(path), paramiko.PKey.from_path(path)))
        except paramiko.PasswordRequiredException:
            continue  # the agent may have it
        except (OSError, ValueError, paramiko.SSHException) as error:
            raise UnreachableError(f"{path} is no private key: {error}") from error
    with contextlib.suppress(paramiko.SSHException):
        found += [("the agent's", key) for key in paramiko.Agent().get_keys()]
    return found


def _channel(transport: Transport, where: tuple[str, int]) -> Channel:
    import paramiko

    try:
        return transport.open_channel("direct-tcpip", where, (LOOPBACK, 0), timeout=_CONNECT_S)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise UnreachableError(
            f"the node does not reach {where[0]}:{where[1]} ({error})"
        ) from error


def _prompt(found: socket.socket) -> socket.socket:
    """The socket, which sends at once and notices when the other side has gone without a word."""
    # A channel opens with several small messages, which would wait for one another.
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)
    return found


def _copy(read: Callable[[int], bytes], out: Sink) -> None:
    while chunk := read(_CHUNK):
        out.write(chunk)
        out.flush()


def _feed(channel: Channel, stdin: bytes) -> None:
    """All of the input has been sent, and its end, unless the command had ended before."""
    with contextlib.suppress(OSError, EOFError):
        channel.sendall(stdin)
        channel.shutdown_write()


def channel(line: Line, where: tuple[str, int]) -> Channel:
    """A way to `where` as the node sees it; the line is made again where it was cut."""
    try:
        return _channel(line.transport(), where)
    except UnreachableError:
        if line.alive:
            raise
    return _channel(line.transport(), where)
