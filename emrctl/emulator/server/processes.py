"""Processes that belong to the emulator, found again by marks in their environment.

A process group is not enough: daemons leave it. A parent is not enough: it dies first. What a
process inherits and hardly ever drops is its environment, so every child carries the emulator's
id there, and whatever runs inside a cluster, a node's bootstrap or a step carries that as well.
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
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

EMULATOR_MARK = "EMRCTL_EMULATOR"
CLUSTER_MARK = "EMRCTL_CLUSTER"
SCOPE_MARK = "EMRCTL_SCOPE"
INSTANCE_MARK = "EMRCTL_INSTANCE"

_PR_SET_CHILD_SUBREAPER = 36
_adopting = threading.Event()


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """A program, where it runs, and the files its output goes to."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    stdout: Path
    stderr: Path


def start(program: ProcessSpec) -> subprocess.Popen[bytes]:
    """The program runs in a session of its own, with no terminal and no input."""
    with program.stdout.open("ab") as out, program.stderr.open("ab") as err:
        return spawn(
            program.argv,
            cwd=program.cwd,
            env=dict(program.env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )


def spawn(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """The command runs in a session of its own; its exit code is ours to ask for."""
    # Between fork and note, a child that ended at once would look like an orphan.
    with _births:
        process = subprocess.Popen(list(argv), start_new_session=True, **options)
        _ours.add(process.pid)
    return process


def run(program: ProcessSpec, scope: str, *, timeout_s: float | None) -> int:
    """Run a program and return its exit code; kill what it leaves running, found by `scope`."""
    try:
        process = start(program)
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
    # For a process that was terminated by signal n, shells and EMR report 128 + n.
    return code if code >= 0 else 128 - code


def forget(process: subprocess.Popen[bytes]) -> None:
    """The child has been waited for: its number may become another's."""
    _ours.discard(process.pid)


def adopt_orphans() -> None:
    """On Linux, a grandchild whose parent dies becomes ours rather than init's."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            _adopting.set()


def wake_on_ends() -> socket.socket:
    """What can be read from whenever a child has ended. Only the main thread may ask for it.

    A program that asks whether another has ended is told that it runs, as long as nobody reaps it.
    """
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    return ours


def signal_group(process: subprocess.Popen[bytes], signum: int) -> None:
    """The signal has reached every process of the group, where it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signum)


def marked(mark: str, value: str) -> list[psutil.Process]:
    """Every process but this one whose environment says `mark=value`."""
    own = os.getpid()
    found = []
    for process in psutil.process_iter():
        if process.pid == own:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(mark) == value:
                found.append(process)
    return found


def kill_marked(mark: str, value: str, *, grace_s: float = 0.0) -> int:
    """No process carries the mark any more; how many were killed.

    Killing is repeated: what is killed may have started something in between.
    """
    killed = 0
    if grace_s:
        victims = marked(mark, value)
        _send(victims, signal.SIGTERM)
        _await_end(victims, timeout_s=grace_s)
    for _ in range(20):
        victims = marked(mark, value)
        if not victims:
            break
        killed += len(victims)
        _send(victims, signal.SIGKILL)
        _await_end(victims, timeout_s=1.0)
        reap()
    return killed


def _send(processes: Iterable[psutil.Process], signum: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.send_signal(signum)


def _await_end(processes: Iterable[psutil.Process], *, timeout_s: float) -> None:
    """The processes have ended, if only as zombies that others have yet to reap, or time is up."""
    deadline = time.monotonic() + timeout_s
    while any(created(one.pid) == _began(one) for one in processes):
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _began(process: psutil.Process) -> float:
    # psutil keeps what it once read: this asks nobody about a process that has gone.
    return process.create_time()


def reap() -> None:
    """Adopted orphans that have ended leave no zombie; our own children are left to their owner.

    Where nobody asked to adopt any, children are somebody else's business.
    """
    if not _adopting.is_set():
        return
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, OSError), _births:
            if child.status() == psutil.STATUS_ZOMBIE and child.pid not in _ours:
                os.waitpid(child.pid, os.WNOHANG)


# Children that a Popen of ours waits for: reaping those would lose their exit codes.
_ours: set[int] = set()
_births = threading.Lock()


def created(pid: int) -> float | None:
    """When the process of that id began, None where there is none (a zombie is none)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.Error:
        return None


def wait_gone(pid: int, *, timeout_s: float) -> bool:
    """Whether the process has gone within that time."""
    deadline = time.monotonic() + timeout_s
    while created(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
