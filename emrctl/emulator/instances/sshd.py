"""The instances' SSH servers: one thread for all, asleep until somebody connects.

They listen on the instances' loopback addresses only, and let in who has the private half of the
instance's key pair, as ec2-user; there is no password and no other way.
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

# What it says of every session would fill the log, commands and all.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

_ANSWER_S = 20.0
_HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(eq=False)
class Sshd:
    """SSH servers of running instances, all on `port`, each on its own addresses."""

    port: int
    _open: dict[str, _Door] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        """The thread waits for the first instance."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="sshd", daemon=True)
        self._thread.start()

    def open(self, machine: Machine) -> None:
        """The instance's server answers."""
        self._do(self._listen(machine))

    def bar(self, machine: Machine) -> None:
        """Nobody else comes in to the instance; who is in stays."""
        door = self._open.get(machine.id)
        if door is not None:
            self._do(door.bar())

    def close(self, machine: Machine) -> None:
        """The instance's server is gone, and so is every connection to it."""
        door = self._open.pop(machine.id, None)
        if door is not None:
            self._do(door.shut())

    def end(self) -> None:
        """No server is left, nor the thread."""
        for door in list(self._open.values()):
            self._do(door.shut())
        self._open.clear()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_S)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_S)

    async def _listen(self, machine: Machine) -> None:
        door = self._open.setdefault(machine.id, _Door(machine))
        for address in machine.addresses if not door.listeners else ():
            door.listeners.append(
                await asyncssh.listen(
                    address,
                    self.port,
                    server_factory=lambda: _Server(door),
                    server_host_keys=list(
                        machine.host_keys
                    ),  # a tuple is a key and its certificate
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
class _Door:
    """One instance's listeners and whoever has come in."""

    machine: Machine
    listeners: list[Any] = field(default_factory=list)
    inside: set[Any] = field(default_factory=set)

    async def bar(self) -> None:
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()

    async def shut(self) -> None:
        await self.bar()
        for connection in list(self.inside):
            connection.abort()


class _Server(asyncssh.SSHServer):  # type: ignore[misc, unused-ignore]
    """Who comes in, and where they may be forwarded to."""

    def __init__(self, door: _Door) -> None:
        self._door = door
        self._connection: Any = None

    def connection_made(self, conn: Any) -> None:
        """Remember the connection, so that it ends with the instance."""
        self._connection = conn
        self._door.inside.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget the connection."""
        self._door.inside.discard(self._connection)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        """Everybody must show a key."""
        return True

    def public_key_auth_supported(self) -> bool:
        """A key is what one logs in with."""
        return True

    def validate_public_key(self, username: str, key: Any) -> bool:
        """The instance's own key lets ec2-user in, and no other does."""
        own = self._door.machine.public_key
        return username == USER and own is not None and asyncssh.import_public_key(own) == key

    def connection_requested(self, dest_host: str, dest_port: int, *_: Any) -> Any:
        """Ports of this very machine are forwarded to."""
        return self._forwarded(dest_host, dest_port)

    async def _forwarded(self, host: str, port: int) -> Any:
        if host in _HERE:
            # A node's programs listen on its own address, or on the one that all have in common.
            try:
                return await self._connection.forward_connection(self._door.machine.private, port)
            except asyncssh.ChannelOpenError:
                return await self._connection.forward_connection("127.0.0.1", port)
        if host.startswith("127."):
            return await self._connection.forward_connection(host, port)
        prohibited = asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
        raise asyncssh.ChannelOpenError(prohibited, f"{host} is beyond the local EC2")


class HomeSftpServer(asyncssh.SFTPServer):  # type: ignore[misc, unused-ignore]
    """SFTP as the instance's shell sees files: relative paths begin in the user's home."""

    def __init__(self, channel: Any, machine: Machine) -> None:
        super().__init__(channel)
        self._home = os.fsencode(machine.home)

    def map_path(self, path: bytes) -> bytes:
        """The file of that name."""
        return os.path.join(self._home, path)  # noqa: PTH118 - bytes

    def exit(self) -> None:
        """The client is told that all went well, as OpenSSH's own server does: scp asks for it."""
        self.channel.exit(0)
