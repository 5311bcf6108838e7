"""What one SSH session does on an instance: a command, or a shell on a terminal.

As with OpenSSH's server, a client that goes away takes its pipes along (what writes to them next
ends) or its terminal (what hangs on it is hung up); what left them behind runs on.
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
_ACCEPTED = ("LANG", "LC_")
_SIGNALS = frozenset({"ABRT", "ALRM", "HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"})
# A terminal that others still hold is not waited for: sshd closes it when the shell has ended.
_LINGER_S = 0.3
_ON_TERMINAL = 'exec <>"$0" >&0 2>&0; exec "$@"'


@dataclass(eq=False)
class SessionProcess:
    """A session's program and our ends of its input, its output and its errors."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes] | None
    terminal: bool

    def send(self, name: str) -> None:
        """The signal of that name has reached the program and what it started in its group."""
        if name in _SIGNALS:
            processes.signal_group(self.process, signal.Signals[f"SIG{name}"])

    def resize(self, width: int, height: int, *pixels: int) -> None:
        """The program's terminal has that size."""
        if self.terminal:
            _set_size(self.stdout.fileno(), (width, height, *pixels))


async def serve(session: Any, machine: Machine) -> None:
    """The session's program has ended and its client knows how, or the client has gone."""
    if session.subsystem is not None:
        session.stderr.write(b"There is no such subsystem.\n")
        session.exit(1)
        return
    try:
        running = _start(session, machine)
    except OSError as error:
        session.stderr.write(f"This instance cannot start a program: {error}\n".encode())
        session.exit(1)
        return
    # The channel's own callbacks: through the stream they would wait behind unread input.
    session.signal_received = running.send
    session.terminal_size_changed = running.resize
    ended = _ended(running.process)
    work = asyncio.ensure_future(_relay(session, running, ended))
    gone = asyncio.ensure_future(session.channel.wait_closed())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        work.cancel()
        gone.cancel()
        for found in await asyncio.gather(work, gone, return_exceptions=True):
            if isinstance(found, Exception):
                _log.error("a session on %s: %r", machine.id, found)


def _start(session: Any, machine: Machine) -> SessionProcess:
    wanted = {k: v for k, v in session.env.items() if k.startswith(_ACCEPTED)}
    peer, own = session.get_extra_info("peername"), session.get_extra_info("sockname")
    where = f"{peer[0]} {peer[1]} {own[0]} {own[1]}"
    environment = machine.environment() | wanted | {"SSH_CONNECTION": where}
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
    ours, theirs = os.openpty()
    try:
        _set_size(ours, size)
        # Who leads a session and opens a terminal is controlled by it: bash has job control then.
        argv = ["/bin/sh", "-c", _ON_TERMINAL, os.ttyname(theirs), *command]
        options["env"]["SSH_TTY"] = os.ttyname(theirs)
        process = processes.spawn(argv, stdin=theirs, stdout=theirs, stderr=theirs, **options)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    again = os.fdopen(os.dup(ours), "wb", buffering=0)
    return SessionProcess(process, again, os.fdopen(ours, "rb", buffering=0), None, terminal=True)


def _set_size(terminal: int, size: tuple[int, ...]) -> None:
    width, height, *pixels = (*size, 0, 0)[:4]
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, *pixels))


def _ended(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """The exit code to be: a thread sleeps until the program ends, and nothing polls."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()

    def tell(code: int) -> None:
        if not future.done():
            future.set_result(code)

    def wait() -> None:
        code = process.wait()
        processes.forget(process)
        with contextlib.suppress(RuntimeError):  # the loop may have closed meanwhile
            loop.call_soon_threadsafe(tell, code)

    threading.Thread(target=wait, daemon=True).start()
    return future


async def _relay(session: Any, running: SessionProcess, ended: asyncio.Future[int]) -> None:
    """What the client sends goes in, what the program says goes out, and then how it ended."""
    pumps = [asyncio.ensure_future(_out(running.stdout, session.stdout))]
    if running.stderr is not None:
        pumps.append(asyncio.ensure_future(_out(running.stderr, session.stderr)))
    feed = asyncio.ensure_future(_in(session.stdin, running))
    try:
        code = await ended
        await asyncio.wait(pumps, timeout=_LINGER_S if running.terminal else None)
        if code < 0:
            session.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            session.exit(code)
    finally:
        for task in (*pumps, feed):
            task.cancel()
        await asyncio.gather(*pumps, feed, return_exceptions=True)


async def _out(source: IO[bytes], client: Any) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), source
    )
    try:
        # A terminal that nobody holds any more ends with an error rather than with nothing.
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                client.write(data)
                await client.drain()
    finally:
        transport.close()


async def _in(client: Any, running: SessionProcess) -> None:
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
            await asyncio.Event().wait()  # a terminal's end is typed, not closed
    finally:
        transport.close()
