"""SSH sessions on an instance: a command with pipes, or a shell on a terminal.

As with OpenSSH, a disconnect closes the pipes of a session (the next write to them fails) or its
terminal (its processes receive SIGHUP). Detached processes keep running.
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
from dataclasses import dataclass
from typing import IO, Any

from emrctl.emulator.instances.machine import Machine
from emrctl.emulator.server import processes

_log = logging.getLogger(__name__)

_CHUNK = 32_768
# sshd's AcceptEnv on Amazon Linux.
_ACCEPTED_ENV = ("LANG", "LC_")
_SIGNALS = frozenset({"ABRT", "ALRM", "HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"})
# Like sshd, do not wait for other processes that hold the terminal open when the shell has exited.
_TERMINAL_LINGER_S = 0.3
_ON_TERMINAL = 'exec <>"$0" >&0 2>&0; exec "$@"'


@dataclass(eq=False)
class SessionProcess:
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


async def serve(session: Any, machine: Machine) -> None:
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


def _start(session: Any, machine: Machine) -> SessionProcess:
    accepted = {k: v for k, v in session.env.items() if k.startswith(_ACCEPTED_ENV)}
    peer, local = session.get_extra_info("peername"), session.get_extra_info("sockname")
    connection = f"{peer[0]} {peer[1]} {local[0]} {local[1]}"
    environment = machine.environment() | accepted | {"SSH_CONNECTION": connection}
    command = ["bash", "-c", session.command] if session.command is not None else ["bash", "-l"]
    if session.term_type is None:
        return _on_pipes(command, cwd=machine.home, env=environment)
    environment["TERM"] = session.term_type
    return _on_terminal(command, session.term_size, cwd=machine.home, env=environment)


def _on_pipes(command: list[str], **options: Any) -> SessionProcess:
    pipe = subprocess.PIPE
    process = processes.spawn(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, **options)
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    return SessionProcess(process, process.stdin, process.stdout, process.stderr, terminal=False)


def _on_terminal(command: list[str], size: tuple[int, ...], **options: Any) -> SessionProcess:
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
    return SessionProcess(process, stdin, stdout, None, terminal=True)


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


async def _relay(session: Any, running: SessionProcess, exit_code: asyncio.Future[int]) -> None:
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


async def _copy_input(client: Any, running: SessionProcess) -> None:
    import asyncssh

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
