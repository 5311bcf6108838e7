"""An SSH server on loopback in a thread of its own, whose connections can be cut."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import asyncssh

from emrctl.remote.host_keys import HostKey


class _Server(asyncssh.SSHServer):  # type: ignore[misc, unused-ignore]
    """Lets the test's key in and forwards to wherever it is asked to."""

    def __init__(self, connections: list[Any]) -> None:
        self._connections = connections

    def connection_made(self, conn: Any) -> None:
        self._connections.append(conn)

    def connection_requested(self, *_: Any) -> bool:
        return True


class Sshd:
    """The server; `client_key` is the file of the private key that it takes."""

    def __init__(self, folder: Path, kind: str = "ssh-ed25519") -> None:
        self.client_key = folder / "client.pem"
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(self.client_key)
        self.client_key.chmod(0o600)  # OpenSSH takes no other
        self._authorized = folder / "authorized"
        key.write_public_key(self._authorized)
        self._host_key = asyncssh.generate_private_key(kind)
        kind_, text, *_ = self._host_key.export_public_key().decode().split()
        self.host_key = HostKey(type=kind_, text=text)
        self.connections: list[Any] = []
        self.commands: list[str] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listener: Any = None
        self.start()

    @property
    def console(self) -> str:
        """What the node would have printed on its console."""
        return (
            "[   12.3] cloud-init: done\n-----BEGIN SSH HOST KEY KEYS-----\n"
            f"{self.host_key.type} {self.host_key.text} root@ip-10-0-0-1\n"
            "-----END SSH HOST KEY KEYS-----\nip-10-0-0-1 login:\n"
        )

    def start(self) -> None:
        self._listener = self._do(self._listen())
        self.port = self._listener.get_port()

    def cut(self) -> None:
        """Every connection that stands is gone at once."""
        self._do(self._abort())

    def stop(self) -> None:
        self.cut()
        self._do(self._close())

    def end(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _abort(self) -> None:
        # What a connection is asked for while it goes would be left behind half begun.
        while self.connections:
            connection = self.connections.pop()
            connection.abort()
            await connection.wait_closed()

    async def _close(self) -> None:
        self._listener.close()
        await self._listener.wait_closed()

    async def _listen(self) -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=lambda: _Server(self.connections),
            server_host_keys=[self._host_key],
            authorized_client_keys=str(self._authorized),
            process_factory=self._process,
            encoding=None,
        )

    async def _process(self, process: Any) -> None:
        command = process.command or "a shell"
        self.commands.append(command)
        process.stdout.write(f"out of {command}\n".encode())
        process.stderr.write(b"a word aside\n")
        process.exit(3 if "fail" in command else 0)
