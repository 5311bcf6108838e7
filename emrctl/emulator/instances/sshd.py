"""SSH servers of EC2 instances, on their loopback addresses; one thread serves all of them.

Only ec2-user can log in, with the private key of the instance's key pair. A session is a command
with pipes or a shell on a terminal. As with OpenSSH, a disconnect closes the pipes of a session
(the next write to them fails) or its terminal (its processes receive SIGHUP). Detached processes
keep running.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import IO, Any

import asyncssh

from emrctl.emulator.instances.machine import USER, Machine
from emrctl.emulator.server import processes

_log = logging.getLogger(__name__)
# asyncssh logs each session with its command at INFO.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

_TIMEOUT_S = 20.0
_LOCALHOST = ("localhost", "127.0.0.1", "::1")
_CHUNK = 32_768
# sshd's AcceptEnv on Amazon Linux.
_ACCEPTED_ENV = ("LANG", "LC_")
_SIGNALS = frozenset({"ABRT", "ALRM", "HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"})
# Like sshd, do not wait for other processes that hold the terminal open when the shell has exited.
_TERMINAL_LINGER_S = 0.3
_ON_TERMINAL = 'exec <>"$0" >&0 2>&0; exec "$@"'


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
                    process_factory=lambda session: _serve(session, machine),
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


# -- sessions


@dataclass(eq=False)
class _SessionProcess:
    """The process of a session and the emulator's ends of its stdin, stdout and stderr."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes] | None
    terminal: bool

    def send(self, name: str) -> None:
        """Send a signal to the process group."""
        if name in _SIGNALS:
            processes.signal_group(self.process, signal.Signals[f"SIG{name}"])

    def resize(self, width: int, height: int, *pixels: int) -> None:
        """Set the size of the terminal."""
        if self.terminal:
            _set_size(self.stdout.fileno(), (width, height, *pixels))


async def _serve(session: Any, machine: Machine) -> None:
    """Run the process of a session until it exits or the client disconnects."""
    if session.subsystem is not None:
        session.stderr.write(b"There is no such subsystem.\n")
        session.exit(1)
        return
    try:
        running = _start(session, machine)
    except OSError as error:
        session.stderr.write(f"Could not start a process on this instance: {error}\n".encode())
        session.exit(1)
        return
    # Set on the session: callbacks of the stream would wait behind unread input.
    session.signal_received = running.send
    session.terminal_size_changed = running.resize
    exit_code = _exit_code(running.process)
    relay = asyncio.ensure_future(_relay(session, running, exit_code))
    disconnect = asyncio.ensure_future(session.channel.wait_closed())
    try:
        await asyncio.wait({relay, disconnect}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        relay.cancel()
        disconnect.cancel()
        for result in await asyncio.gather(relay, disconnect, return_exceptions=True):
            if isinstance(result, Exception):
                _log.error("session on %s failed: %r", machine.id, result)


def _start(session: Any, machine: Machine) -> _SessionProcess:
    accepted = {k: v for k, v in session.env.items() if k.startswith(_ACCEPTED_ENV)}
    peer, local = session.get_extra_info("peername"), session.get_extra_info("sockname")
    connection = f"{peer[0]} {peer[1]} {local[0]} {local[1]}"
    environment = machine.environment() | accepted | {"SSH_CONNECTION": connection}
    command = ["bash", "-c", session.command] if session.command is not None else ["bash", "-l"]
    if session.term_type is None:
        return _on_pipes(command, cwd=machine.home, env=environment)
    environment["TERM"] = session.term_type
    return _on_terminal(command, session.term_size, cwd=machine.home, env=environment)


def _on_pipes(command: list[str], **options: Any) -> _SessionProcess:
    pipe = subprocess.PIPE
    process = processes.spawn(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, **options)
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    return _SessionProcess(process, process.stdin, process.stdout, process.stderr, terminal=False)


def _on_terminal(command: list[str], size: tuple[int, ...], **options: Any) -> _SessionProcess:
    primary, secondary = os.openpty()
    try:
        _set_size(primary, size)
        # A session leader that opens a terminal gets it as its controlling terminal, which bash
        # needs for job control.
        name = os.ttyname(secondary)
        options["env"]["SSH_TTY"] = name
        argv = ["/bin/sh", "-c", _ON_TERMINAL, name, *command]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), secondary)
        process = processes.spawn(argv, **streams, **options)
    except BaseException:
        os.close(primary)
        raise
    finally:
        os.close(secondary)
    stdin = os.fdopen(os.dup(primary), "wb", buffering=0)
    stdout = os.fdopen(primary, "rb", buffering=0)
    return _SessionProcess(process, stdin, stdout, None, terminal=True)


def _set_size(terminal: int, size: tuple[int, ...]) -> None:
    width, height, *pixels = (*size, 0, 0)[:4]
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, *pixels))


def _exit_code(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Return a future of the exit code; a thread waits for the process, without polling."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()

    def set_result(code: int) -> None:
        if not future.done():
            future.set_result(code)

    def wait() -> None:
        code = process.wait()
        processes.forget(process)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(set_result, code)

    threading.Thread(target=wait, daemon=True).start()
    return future


async def _relay(session: Any, running: _SessionProcess, exit_code: asyncio.Future[int]) -> None:
    """Copy data between client and process, then send the exit code or signal to the client."""
    outputs = [asyncio.ensure_future(_copy_output(running.stdout, session.stdout))]
    if running.stderr is not None:
        outputs.append(asyncio.ensure_future(_copy_output(running.stderr, session.stderr)))
    inputs = asyncio.ensure_future(_copy_input(session.stdin, running))
    try:
        code = await exit_code
        await asyncio.wait(outputs, timeout=_TERMINAL_LINGER_S if running.terminal else None)
        if code < 0:
            session.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            session.exit(code)
    finally:
        for task in (*outputs, inputs):
            task.cancel()
        await asyncio.gather(*outputs, inputs, return_exceptions=True)


async def _copy_output(source: IO[bytes], client: Any) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), source
    )
    try:
        # Reading from a terminal that no process holds open raises an error.
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                client.write(data)
                await client.drain()
    finally:
        transport.close()


async def _copy_input(client: Any, running: _SessionProcess) -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, running.stdin
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        with contextlib.suppress(OSError, asyncssh.Error):
            while data := await client.read(_CHUNK):
                writer.write(data)
                await writer.drain()
        if running.terminal:
            await asyncio.Event().wait()  # keep open: on a terminal, EOF is a typed Ctrl-D
    finally:
        transport.close()
