"""SSH servers of EC2 instances, on their loopback addresses; one thread serves all of them.

Only ec2-user can log in, with the private key of the instance's key pair.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from emrctl.emulator.instances import ssh_sessions
from emrctl.emulator.instances.machine import USER, Machine

# asyncssh logs each session with its command at INFO.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

_TIMEOUT_S = 20.0
_LOCALHOST = ("localhost", "127.0.0.1", "::1")


@dataclass(eq=False)
class Sshd:
    """SSH servers of running instances, all on `port`, each on its instance's addresses."""

    port: int
    _servers: dict[str, _InstanceServer] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="sshd", daemon=True)
        self._thread.start()

    def listen(self, machine: Machine) -> None:
        """Start the server of an instance if it is not running."""
        self._run(self._listen(machine))

    def stop_listening(self, machine: Machine) -> None:
        """Reject new connections to an instance; keep existing ones."""
        server = self._servers.get(machine.id)
        if server is not None:
            self._run(server.stop_listening())

    def close(self, machine: Machine) -> None:
        """Stop the server of an instance and close its connections."""
        server = self._servers.pop(machine.id, None)
        if server is not None:
            self._run(server.close())

    def stop(self) -> None:
        """Stop all servers and the thread."""
        for server in list(self._servers.values()):
            self._run(server.close())
        self._servers.clear()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_TIMEOUT_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT_S)

    async def _listen(self, machine: Machine) -> None:
        server = self._servers.setdefault(machine.id, _InstanceServer(machine))
        for address in machine.addresses if not server.listeners else ():
            server.listeners.append(
                await asyncssh.listen(
                    address,
                    self.port,
                    server_factory=lambda: _SshConnection(server),
                    # A list, because asyncssh takes a tuple for a key and its certificate.
                    server_host_keys=list(machine.host_keys),
                    process_factory=lambda session: ssh_sessions.serve(session, machine),
                    sftp_factory=lambda channel: HomeSftpServer(channel, machine),
                    encoding=None,
                    agent_forwarding=False,
                    password_auth=False,
                    kbdint_auth=False,
                    gss_host=None,
                )
            )


@dataclass(eq=False)
class _InstanceServer:
    """The listeners and connections of an instance."""

    machine: Machine
    listeners: list[Any] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)

    async def stop_listening(self) -> None:
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()

    async def close(self) -> None:
        await self.stop_listening()
        for connection in list(self.connections):
            connection.abort()


class _SshConnection(asyncssh.SSHServer):  # type: ignore[misc, unused-ignore]
    """Authentication and port forwarding of one connection."""

    def __init__(self, server: _InstanceServer) -> None:
        self._server = server
        self._connection: Any = None

    def connection_made(self, conn: Any) -> None:
        """Register the connection, so that it is closed with the instance."""
        self._connection = conn
        self._server.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Unregister the connection."""
        self._server.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        """Require authentication."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Support authentication by public key."""
        return True

    def validate_public_key(self, username: str, key: Any) -> bool:
        """Accept ec2-user with the instance's key."""
        accepted = self._server.machine.public_key
        if username != USER or accepted is None:
            return False
        return bool(asyncssh.import_public_key(accepted) == key)

    def connection_requested(self, dest_host: str, dest_port: int, *_: Any) -> Any:
        """Forward to ports on loopback addresses only."""
        return self._forward(dest_host, dest_port)

    async def _forward(self, host: str, port: int) -> Any:
        if host in _LOCALHOST:
            # Programs of an instance listen on its own address or on 127.0.0.1.
            private_ip = self._server.machine.private_ip
            try:
                return await self._connection.forward_connection(private_ip, port)
            except asyncssh.ChannelOpenError:
                return await self._connection.forward_connection("127.0.0.1", port)
        if host.startswith("127."):
            return await self._connection.forward_connection(host, port)
        prohibited = asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
        raise asyncssh.ChannelOpenError(prohibited, f"{host} is not an address of the local EC2")


class HomeSftpServer(asyncssh.SFTPServer):  # type: ignore[misc, unused-ignore]
    """SFTP server whose relative paths start in the user's home."""

    def __init__(self, channel: Any, machine: Machine) -> None:
        super().__init__(channel)
        self._home = os.fsencode(machine.home)

    def map_path(self, path: bytes) -> bytes:
        """Return the absolute path of a file."""
        return os.path.join(self._home, path)  # noqa: PTH118 - bytes

    def exit(self) -> None:
        """Return exit code 0 to the client, as OpenSSH's server does: scp checks it."""
        self.channel.exit(0)
