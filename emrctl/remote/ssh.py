"""SSH connections that reconnect when they are lost: commands, files, channels, HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import posixpath
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from emrctl.aws.polling import Backoff
from emrctl.errors import HostKeyError, UnreachableError
from emrctl.ports import LOOPBACK
from emrctl.remote.host_keys import HostKey, known

if TYPE_CHECKING:
    from paramiko import Channel, PKey, SFTPClient, Transport

    from emrctl.remote.session_manager import SessionForward


_CONNECT_S, _HANDSHAKE_S = 10.0, 20.0
_KEEPALIVE_S = 15
# Unacknowledged data for this long means that the connection is lost.
_UNACKNOWLEDGED_MS = 60_000
# OpenSSH's exit code for a command that a signal ended.
_SIGNAL_EXIT_CODE = 255
_RETRY_S, _TRIES = 1.0, 8
_CHUNK = 32_768
_HTTP_TIMEOUT_S = 5.0

Check = Callable[[HostKey], None]


class Sink(Protocol):
    """Receives a command's output as it is written."""

    def write(self, text: bytes, /) -> object:
        """Write a chunk."""

    def flush(self) -> object:
        """Flush what was written."""


@dataclass(frozen=True, kw_only=True)
class SshHost:
    """A node: its id, the address and port of its SSH server, and the user to log in as."""

    node: str
    address: str
    port: int = 22
    user: str = "hadoop"


@dataclass(eq=False)
class SshConnection:
    """A connection to `host`, opened on first use and reopened whenever it is lost.

    `jump` is a connection to a host in between; `forward` replaces a direct connection if the
    node has no open port. `check` raises if the host key cannot be verified.
    """

    host: SshHost
    identities: Sequence[Path]
    check: Check
    jump: SshConnection | None = None
    forward: SessionForward | None = None
    report: Callable[[str], None] = lambda _message: None
    retry_s: float = _RETRY_S
    _transport: Transport | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    @property
    def alive(self) -> bool:
        """Whether it is open."""
        return self._transport is not None and self._transport.is_active()

    @property
    def lost(self) -> bool:
        """Whether it was open and is not any longer."""
        return self._transport is not None and not self._transport.is_active()

    def set_jump(self, jump: SshConnection, address: str) -> None:
        """Connect through another node, to which the host has this address."""
        self.jump = jump
        self.host = replace(self.host, address=address)

    def transport(self) -> Transport:
        """Return the open connection; raises `UnreachableError`."""
        with self._lock:
            if self._transport is not None and self._transport.is_active():
                return self._transport
            reconnect = self._transport is not None
            if reconnect:
                self.report(f"lost the connection to {self.host.node}: reconnecting")
            self._transport = self._reconnect() if reconnect else self._connect()
            return self._transport

    def close(self) -> None:
        """Close it for good, with the jump host and forward."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()
        if self.jump is not None:
            self.jump.close()
        if self.forward is not None:
            self.forward.close()

    def run(self, command: str, out: Sink, err: Sink, stdin: bytes = b"") -> int:
        """Run the command on the node with that input; return its exit code.

        Raises `UnreachableError` if the connection was lost before the exit code arrived.
        """
        try:
            return self._run(self._open_session(), command, out, err, stdin)
        except (EOFError, OSError) as error:
            raise self._lost_error() from error

    def _run(self, channel: Channel, command: str, out: Sink, err: Sink, stdin: bytes) -> int:
        channel.exec_command(command)
        threads = (
            threading.Thread(target=_copy, args=(channel.recv_stderr, err), daemon=True),
            threading.Thread(target=_send, args=(channel, stdin), daemon=True),
        )
        for thread in threads:
            thread.start()
        _copy(channel.recv, out)
        for thread in threads:
            thread.join()
        code = channel.recv_exit_status()
        if code < 0 and not self.alive:
            raise self._lost_error()
        return code if code >= 0 else _SIGNAL_EXIT_CODE

    def _open_session(self) -> Channel:
        import paramiko

        try:
            return self.transport().open_session(timeout=_HANDSHAKE_S)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self.alive:
                raise UnreachableError(f"{self.host.node} rejected a session: {error}") from error
        return self.transport().open_session(timeout=_HANDSHAKE_S)

    def files(self) -> SFTPClient:
        """Open SFTP; relative paths start at the user's home."""
        import paramiko

        try:
            client = paramiko.SFTPClient.from_transport(self.transport())
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise UnreachableError(f"SFTP to {self.host.node} failed: {error}") from error
        assert client is not None  # noqa: S101 - None only for an unauthenticated transport
        return client

    def _lost_error(self) -> UnreachableError:
        return UnreachableError(
            f"lost the connection to {self.host.node}",
            hint="Detached commands keep running there. Run the same command again.",
        )

    def _reconnect(self) -> Transport:
        pace = Backoff(self.retry_s)
        for _ in range(_TRIES - 1):
            try:
                return self._connect()
            except HostKeyError:
                raise
            except UnreachableError as error:
                if self._closed:
                    raise
                pace.failed(error)
            pace.wait()
        return self._connect()

    def _connect(self) -> Transport:
        import paramiko

        transport = paramiko.Transport(self._open_socket())
        try:
            self._handshake(transport)
            self._authenticate(transport)
        except BaseException:
            transport.close()
            raise
        transport.set_keepalive(_KEEPALIVE_S)
        return transport

    def _open_socket(self) -> Any:
        address = (self.host.address, self.host.port)
        if self.jump is not None:
            return _open_channel(self.jump.transport(), address)
        if self.forward is not None:
            self.forward.close()  # an earlier session may have been lost
            address = (LOOPBACK, self.forward.open())
        try:
            return _configured(socket.create_connection(address, timeout=_CONNECT_S))
        except OSError as error:
            msg = f"cannot connect to port {address[1]} of {address[0]} ({error})"
            hint = "Check its security group, and whether it has a public address."
            raise UnreachableError(msg, hint=hint) from error

    def _handshake(self, transport: Transport) -> None:
        import paramiko

        options = transport.get_security_options()
        # Prefer the stored key's type: another type would look like a changed key.
        types = {key.type for key in known(self.host.node)}
        types |= {"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in types else set()
        options.key_types = tuple(sorted(options.key_types, key=lambda kind: kind not in types))
        try:
            transport.start_client(timeout=_HANDSHAKE_S)
        except (paramiko.SSHException, EOFError, OSError) as error:
            msg = f"SSH handshake with {self.host.node} failed ({error})"
            raise UnreachableError(msg) from error
        key = transport.get_remote_server_key()
        self.check(HostKey(type=key.get_name(), text=key.get_base64()))

    def _authenticate(self, transport: Transport) -> None:
        import paramiko

        tried = []
        for name, key in keys(self.identities):
            tried.append(name)
            try:
                transport.auth_publickey(self.host.user, key)
            except paramiko.AuthenticationException:
                continue
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise UnreachableError(f"{self.host.node} disconnected: {error}") from error
            return
        msg = f"{self.host.node} rejected all keys for {self.host.user}: {', '.join(tried)}"
        raise UnreachableError(
            msg if tried else f"no private key for {self.host.node} on this machine",
            hint="Pass the private key of the cluster's key pair with --identity FILE.",
        )


def keys(identities: Sequence[Path]) -> list[tuple[str, PKey]]:
    """Return the private keys in these files, then those of the user's SSH agent."""
    import paramiko

    named_keys: list[tuple[str, PKey]] = []
    for path in identities:
        try:
            named_keys.append((str(path), paramiko.PKey.from_path(path)))
        except paramiko.PasswordRequiredException:
            continue  # the agent may have it
        except (OSError, ValueError, paramiko.SSHException) as error:
            raise UnreachableError(f"{path} is not a private key: {error}") from error
    with contextlib.suppress(paramiko.SSHException):
        named_keys += [("SSH agent", key) for key in paramiko.Agent().get_keys()]
    return named_keys


def _open_channel(transport: Transport, address: tuple[str, int]) -> Channel:
    import paramiko

    try:
        return transport.open_channel("direct-tcpip", address, (LOOPBACK, 0), timeout=_CONNECT_S)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise UnreachableError(
            f"the node cannot connect to {address[0]}:{address[1]} ({error})"
        ) from error


def _configured(connection: socket.socket) -> socket.socket:
    """Disable Nagle's algorithm and detect a dead peer."""
    # A channel opens with several small messages, which would otherwise be delayed.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    return connection


def _copy(read: Callable[[int], bytes], out: Sink) -> None:
    while chunk := read(_CHUNK):
        out.write(chunk)
        out.flush()


def _send(channel: Channel, stdin: bytes) -> None:
    """Send the input and its end; the command may exit before reading it."""
    with contextlib.suppress(OSError, EOFError):
        channel.sendall(stdin)
        channel.shutdown_write()


def open_channel(connection: SshConnection, address: tuple[str, int]) -> Channel:
    """Open a channel to an address as seen from the node; reconnects once if necessary."""
    try:
        return _open_channel(connection.transport(), address)
    except UnreachableError:
        if connection.alive:
            raise
    return _open_channel(connection.transport(), address)


def get_json(connection: SshConnection, address: tuple[str, int], path: str) -> Any:
    """Return the JSON document at `path` of an HTTP server as seen from the node.

    Raises OSError if it does not answer and ValueError if the response is not JSON.
    """
    http_connection = http.client.HTTPConnection(*address)
    channel = open_channel(connection, address)
    channel.settimeout(_HTTP_TIMEOUT_S)
    http_connection.sock = channel  # a channel has the methods of a socket that are used
    try:
        http_connection.request("GET", path, headers={"Accept": "application/json"})
        response = http_connection.getresponse()
        if response.status != http.client.OK:
            raise ConnectionError(f"{path} returned {response.status} {response.reason}")
        return json.loads(response.read())
    except http.client.HTTPException as error:
        raise ConnectionError(f"{path} did not return a valid HTTP response: {error}") from error
    finally:
        http_connection.close()


def upload(connection: SshConnection, source: Path, destination: str) -> int:
    """Upload a file or a folder; return the number of files.

    If the destination is a folder or ends in a slash, the source keeps its name in it. Relative
    destinations start at the user's home. Raises `UnreachableError` if writing fails.
    """
    try:
        with connection.files() as files:
            return _upload(files, source, destination)
    except (OSError, EOFError) as error:
        hint = f"Check free space and the permissions of {connection.host.user}."
        msg = f"could not write {destination}: {error}"
        raise UnreachableError(msg, hint=hint) from error


def _upload(files: SFTPClient, source: Path, destination: str) -> int:
    if destination.endswith("/") or _is_folder(files, destination):
        destination = posixpath.join(destination, source.name)
    count = 0
    for path, name in _files(source, destination):
        _make_folder(files, posixpath.dirname(name))
        files.put(str(path), name)
        files.chmod(name, stat.S_IMODE(path.stat().st_mode))
        count += 1
    return count


def _files(source: Path, destination: str) -> Iterator[tuple[Path, str]]:
    if source.is_file():
        yield source, destination
        return
    for path in sorted(source.rglob("*")):
        if path.is_file():
            yield path, posixpath.join(destination, path.relative_to(source).as_posix())


def _is_folder(files: SFTPClient, name: str) -> bool:
    try:
        return stat.S_ISDIR(files.stat(name).st_mode or 0)
    except FileNotFoundError:
        return False


def _make_folder(files: SFTPClient, name: str) -> None:
    if name and not _is_folder(files, name):
        _make_folder(files, posixpath.dirname(name))
        files.mkdir(name)
