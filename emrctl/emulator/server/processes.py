"""Start, find and kill the emulator's processes, identified by marks in their environment.

Daemons leave their process group and outlive their parent, but keep their environment. Every child
has the emulator's id in it, and processes of clusters, bootstrap actions and steps have those too.

`python -m emrctl.emulator.server.processes ID` is the reaper of the emulator with that id: it waits
for the end of its input, which closes when the emulator exits for any reason, and kills what is
left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from emrctl.aws.polling import poll_until

EMULATOR_MARK = "EMRCTL_EMULATOR"
CLUSTER_MARK = "EMRCTL_CLUSTER"
SCOPE_MARK = "EMRCTL_SCOPE"
INSTANCE_MARK = "EMRCTL_INSTANCE"

_PR_SET_CHILD_SUBREAPER = 36
_adopting = threading.Event()


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """A program with its working directory, environment, output files and inherited files."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    stdout: Path
    stderr: Path
    inherited: tuple[int, ...] = ()


def start(program: ProcessSpec) -> subprocess.Popen[bytes]:
    """Start the program in its own session, without terminal and input."""
    with program.stdout.open("ab") as out, program.stderr.open("ab") as err:
        return spawn(
            program.argv,
            cwd=program.cwd,
            env=dict(program.env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=program.inherited,
        )


def spawn(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start the command in its own session; the caller waits for it."""
    # Under the lock, so that a child that exits at once is not reaped as an orphan.
    with _spawn_lock:
        process = subprocess.Popen(list(argv), start_new_session=True, **options)
        _own_children.add(process.pid)
    return process


def run(program: ProcessSpec, scope: str, *, timeout_s: float | None) -> int:
    """Run a program, marked with `scope`; kill what it leaves running and return its exit code."""
    try:
        process = start(replace(program, env={**program.env, SCOPE_MARK: scope}))
    except OSError as error:
        with program.stderr.open("a", encoding="utf-8") as file:
            file.write(f"{program.argv[0]}: {error.strerror}\n")
        return 126
    try:
        code = process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGKILL)
        code = process.wait()
    signal_group(process, signal.SIGKILL)
    kill_marked(SCOPE_MARK, scope)
    return exit_code(code)


def forget(process: subprocess.Popen[bytes]) -> None:
    """Forget a child that has been waited for, since its pid may be reused."""
    _own_children.discard(process.pid)


def adopt_orphans() -> None:
    """Make this process the subreaper of its descendants (Linux only)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            _adopting.set()


def wake_on_child_exit() -> socket.socket:
    """Return a socket that becomes readable when a child exits; main thread only.

    Until a zombie is reaped, other programs see it as running.
    """
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    return reader


def signal_group(process: subprocess.Popen[bytes], signum: int) -> None:
    """Send the signal to the process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signum)


def terminate(children: Collection[subprocess.Popen[bytes]]) -> None:
    """Stop children: SIGTERM, and SIGKILL after 10 s."""
    for process in children:
        signal_group(process, signal.SIGTERM)
    poll_until(lambda: all(process.poll() is not None for process in children), 0.05, 10)
    kill_all(children)


def kill_all(children: Collection[subprocess.Popen[bytes]]) -> None:
    """Kill children with their process groups and wait for them."""
    for process in children:
        signal_group(process, signal.SIGKILL)
    for process in children:
        process.wait()


def exit_code(code: int) -> int:
    """Return the exit code as shells and EMR do: 128 + n for a child that signal n terminated."""
    return code if code >= 0 else 128 - code


def marked(mark: str, value: str) -> list[psutil.Process]:
    """Return all other processes with `mark=value` in their environment."""
    own = os.getpid()
    matching = []
    for process in psutil.process_iter():
        if process.pid == own:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(mark) == value:
                matching.append(process)
    return matching


def kill_marked(mark: str, value: str, *, grace_s: float = 0.0) -> int:
    """Kill all processes with the mark; return how many were killed.

    Repeats, since a process may start another one before it is killed.
    """
    killed = 0
    if grace_s:
        victims = marked(mark, value)
        _send(victims, signal.SIGTERM)
        _wait_for_exit(victims, timeout_s=grace_s)
    for _ in range(20):
        victims = marked(mark, value)
        if not victims:
            break
        killed += len(victims)
        _send(victims, signal.SIGKILL)
        _wait_for_exit(victims, timeout_s=1.0)
        reap()
    return killed


def _send(processes: Iterable[psutil.Process], signum: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.send_signal(signum)


def _wait_for_exit(processes: Iterable[psutil.Process], *, timeout_s: float) -> None:
    """Wait until the processes have exited or are zombies, or until the time-out."""
    # psutil caches the start time: this works after a process has exited.
    poll_until(lambda: all(created(p.pid) != p.create_time() for p in processes), 0.01, timeout_s)


def reap() -> None:
    """Reap adopted orphans; children started by `spawn` are left to their callers.

    Does nothing unless `adopt_orphans` was called.
    """
    if not _adopting.is_set():
        return
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, OSError), _spawn_lock:
            if child.status() == psutil.STATUS_ZOMBIE and child.pid not in _own_children:
                os.waitpid(child.pid, os.WNOHANG)


# Children with a Popen: reaping them here would lose their exit codes.
_own_children: set[int] = set()
_spawn_lock = threading.Lock()


def created(pid: int) -> float | None:
    """Return the start time of the process; None if it does not exist or is a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.Error:
        return None


def wait_gone(pid: int, *, timeout_s: float) -> bool:
    """Return whether the process exits within that time."""
    return poll_until(lambda: created(pid) is None, 0.02, timeout_s)


@contextlib.contextmanager
def reaper(log: Path, emulator_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a reaper that watches this process; stop it at the end."""
    with log.open("ab") as output:
        process = spawn(
            [sys.executable, "-m", __name__, emulator_id],
            stdin=subprocess.PIPE,  # open as long as this process runs
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    sys.stdin.buffer.read()
    kill_marked(EMULATOR_MARK, sys.argv[1])
