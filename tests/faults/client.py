"""Clients of emrctl, each a process of its own, with a fault at a point that the test chooses.

A client is forked from a server that has imported everything (`warm`), so that it costs a fraction
of a second. Its points are numbered: before and after each request to AWS, before each file is
opened for writing and before each is renamed. The fault happens at the point of the given number.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import multiprocessing
import os
import resource
import selectors
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

Action = Literal["kill", "stop", "full", "no_blocks"]

REQUEST, ANSWER, OPEN, RENAME = "request", "answer", "open", "rename"
EVERY = frozenset({REQUEST, ANSWER, OPEN, RENAME})
WRITES = frozenset({OPEN})
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_TIMEOUT_S = 240.0
# Environment variable with the seconds that a client waits for the response to a request.
READ_TIMEOUT = "FAULTS_READ_TIMEOUT_S"

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.warm", "tests.faults.client"])


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens at the `at`-th point, counted from 1, of the kinds in `points`.

    `kill` and `stop` send SIGKILL and SIGSTOP. From that point on, with `full` no file can be
    opened for writing (ENOSPC), with `no_blocks` files can be created, but not written (EFBIG).
    """

    action: Action
    at: int
    points: frozenset[str] = EVERY


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished client: exit code or negative signal, output, and the points it passed."""

    command: str
    code: int
    out: str
    err: str
    points: tuple[str, ...]
    timed_out: bool = False

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL and not self.timed_out


class Client:
    """A running client."""

    def __init__(self, command: str, process: Any, pipes: Sequence[Connection]) -> None:
        self.command = command
        self._process = process
        self._pipes = list(pipes)
        self._output = [b"", b"", b""]

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self._process.pid)

    def wait(self, timeout_s: float = _TIMEOUT_S) -> Result:
        """Return the result once the client has ended; kill it after `timeout_s` seconds."""
        timed_out = not self._read(time.monotonic() + timeout_s)
        if timed_out:
            self._process.kill()
            self._read(time.monotonic() + 10)
        self._process.join()
        for pipe in self._pipes:
            pipe.close()
        out, err, trace = (part.decode(errors="replace") for part in self._output)
        return Result(
            command=self.command,
            code=self._process.exitcode,
            out=out,
            err=err,
            points=tuple(trace.splitlines()),
            timed_out=timed_out,
        )

    def wait_stopped(self, timeout_s: float = _TIMEOUT_S) -> bool:
        """Return whether SIGSTOP has stopped the client; False if it ended before."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0]
            if state in "TtZ":
                return state != "Z"
            time.sleep(0.005)
        return False

    def resume(self) -> None:
        """Continue the stopped client."""
        os.kill(self.pid, signal.SIGCONT)

    def _read(self, deadline: float) -> bool:
        """Read the output until all pipes are closed; return False after the deadline."""
        with selectors.DefaultSelector() as selector:
            for number, pipe in enumerate(self._pipes):
                selector.register(pipe.fileno(), selectors.EVENT_READ, number)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    return False
                for key, _ in ready:
                    block = os.read(key.fd, 1 << 16)
                    self._output[key.data] += block
                    if not block:
                        selector.unregister(key.fd)
        return True


def start(
    folder: Path, environment: Mapping[str, str], command: str, fault: Fault | None = None
) -> Client:
    """Start `emrctl COMMAND` in a folder; words of the command are separated by spaces."""
    pipes = [_context.Pipe(duplex=False) for _ in range(3)]
    writers = tuple(writer for _, writer in pipes)
    arguments = (folder, dict(environment), command.split(), fault, writers)
    process = _context.Process(target=_run, args=arguments)
    process.start()
    for writer in writers:
        writer.close()
    return Client(command, process, [reader for reader, _ in pipes])


# --- in the client --------------------------------------------------------------------------------


class _Points:
    """Counts the points of this process, and lets the fault happen."""

    def __init__(self, fault: Fault | None, trace: int) -> None:
        self._fault = fault
        self._trace = trace
        self._count = 0
        self._full = False
        self._lock = threading.Lock()

    def passed(self, kind: str, name: str) -> None:
        """Record a point; raise `OSError` if it opens a file on the full disk."""
        fault = self._fault
        if fault is not None and kind not in fault.points:
            return
        with self._lock:
            self._count += 1
            os.write(self._trace, f"{kind} {name}\n".encode())
            if fault is not None and self._count == fault.at:
                self._act(fault.action)
        if self._full and kind == OPEN:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    def _act(self, action: Action) -> None:
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif action == "full":
            self._full = True
        else:  # Python ignores SIGXFSZ
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record that a file is opened for writing, or renamed."""
        if event == "open" and isinstance(arguments[0], str):
            path, _, flags = arguments
            if flags & _WRITE_FLAGS and not _is_own(path):
                self.passed(OPEN, path)
        elif event == "os.rename" and not _is_own(str(arguments[1])):
            self.passed(RENAME, str(arguments[1]))


def _is_own(path: str) -> bool:
    """Return whether Python itself writes a file: compiled modules."""
    return path.startswith("/dev/") or "__pycache__" in path


def _observe_requests(points: _Points) -> None:
    from botocore.httpsession import URLLib3Session

    send = URLLib3Session.send

    def send_observed(self: Any, request: Any) -> Any:
        name = _operation(request)
        points.passed(REQUEST, name)
        response = send(self, request)
        points.passed(ANSWER, name)
        return response

    URLLib3Session.send = send_observed  # type: ignore[method-assign]


def _operation(request: Any) -> str:
    target = request.headers.get("X-Amz-Target", b"")
    if target:
        return str(target, "ascii").rpartition(".")[2] if isinstance(target, bytes) else target
    return f"{request.method} {request.url.partition('?')[0].partition('://')[2].partition('/')[2]}"


def _run(
    folder: Path,
    environment: dict[str, str],
    words: list[str],
    fault: Fault | None,
    writers: Sequence[Connection],
) -> None:
    out, err, trace = (writer.fileno() for writer in writers)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = (os.fdopen(fd, "w", closefd=False) for fd in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    faulthandler.enable()
    os.chdir(folder)
    sys.argv = ["emrctl", *words]
    points = _Points(fault, trace)
    _observe_requests(points)
    sys.addaudithook(points.audit)
    from emrctl.cli.__main__ import main

    try:
        main(words)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
