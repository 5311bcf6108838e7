"""Running one step: its turn, its program, its end; and whether those who should, still do.

A step whose runner was killed, or whose node was stopped, is known to be INTERRUPTED, and holds
nobody else up.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import signal
import subprocess
import time
from typing import Any

from _step_logs import Uploads
from _steps import (
    FINAL,
    NODE,
    QUEUE,
    STEPS,
    Doc,
    alive,
    cluster,
    leave_queue,
    now,
    read,
    seconds_since,
    write,
)

LOOK_S, STARTS_S, GRACE_S = 0.2, 20.0, 15.0
SECRET = re.compile(
    r"secret|password|passwd|token|credential|access[._-]?key|api[._-]?key", re.IGNORECASE
)
STOPPED = "the primary was stopped, or the step's runner was ended"
PR_SET_PDEATHSIG = 1


class Runner:
    """Runs one step, when those before it leave room."""

    def __init__(self, id_: str) -> None:
        self.id, self.folder = id_, STEPS / id_
        self.state: Doc = read(id_) or {}
        self.uploads = Uploads(id_)
        self.child: subprocess.Popen[bytes] | None = None
        self.asked_to_end, self.told_to_end = 0.0, False

    def run(self) -> int:
        """The step has ended, and S3 has what it left."""
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.state = read(self.id) or self.state
            if self.state["state"] in FINAL:  # given up before this process came to it
                return 0
            signal.signal(signal.SIGTERM, self.end_soon)
            self.note(runner=os.getpid())
            self.uploads.all(self.state)
            self.conclude(*(self.ran() if self.waited() else self.broken_off()))
        return 0

    def note(self, **changes: Any) -> None:
        """The state has changed."""
        self.state = write({**self.state, **changes})

    def log(self, text: str) -> None:
        """A line of the controller's log."""
        with (self.folder / "controller").open("a", encoding="utf-8") as file:
            file.write(f"{now()} INFO {text}\n")

    def end_soon(self, *_: object) -> None:
        """This process is to end, as when its node is stopped: its step ends with it."""
        self.told_to_end = True

    @property
    def cancelled(self) -> bool:
        """Whether the step is to end before it is done."""
        return self.told_to_end or (self.folder / "cancel").exists()

    def broken_off(self) -> tuple[str, str]:
        """What a step is that was ended before it was done."""
        if (self.folder / "cancel").exists():
            return "CANCELLED", "cancelled" if self.child else "cancelled before it began"
        return "INTERRUPTED", STOPPED

    def waited(self) -> bool:
        """Whether it is the step's turn; False where it was cancelled before."""
        room = int(cluster().get("step_concurrency", 1))
        while not self.cancelled:
            if self.id in queue()[:room]:
                return True
            time.sleep(LOOK_S)
        return False

    def ran(self) -> tuple[str, str]:
        """How the step's program ended."""
        arguments = json.loads((self.folder / "command.json").read_text(encoding="utf-8"))
        self.note(state="RUNNING", started=now())
        self.log(f"startExec '{' '.join(hidden(arguments))}'")
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            self.child = subprocess.Popen(
                ["bash", "-c", '. "$0/env.sh" && exec "$@"', str(NODE), *arguments],
                cwd=self.folder / "work",
                env={**os.environ, "EMRCTL_STEP_ID": self.id},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - no thread runs yet
            )
        self.uploads.begin(lambda: self.state)
        code = self.watched(self.child)
        self.note(exit_code=code)
        self.log(f"waitProcessCompletion ended with exit code {code}")
        if self.cancelled:
            return self.broken_off()
        return ("COMPLETED", "") if code == 0 else ("FAILED", f"exit code {code}")

    def watched(self, child: subprocess.Popen[bytes]) -> int:
        """The program's exit code, as a shell would say it."""
        while (code := child.poll()) is None:
            if self.cancelled:
                self.press(child)
            time.sleep(LOOK_S)
        with contextlib.suppress(OSError):  # what it left behind in its group
            os.killpg(child.pid, signal.SIGKILL)
        return code if code >= 0 else 128 - code

    def press(self, child: subprocess.Popen[bytes]) -> None:
        """The program is asked to end, and made to once it had time for its event log."""
        first = not self.asked_to_end
        self.asked_to_end = self.asked_to_end or time.monotonic()
        if first and not self.told_to_end:
            self.note(state="CANCEL_PENDING")
        late = time.monotonic() - self.asked_to_end > GRACE_S
        if first or late:
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL if late else signal.SIGTERM)

    def conclude(self, final: str, reason: str) -> None:
        """All is on S3, the executors' logs too, before anybody sees that the step has ended."""
        self.uploads.stop()
        leave_queue(self.id)
        state = {**self.state, "state": final, "ended": now(), "reason": reason}
        self.log(f"Step is {final} {reason}".rstrip())
        self.uploads.all(state)
        self.state = write(state)


def end_with_parent() -> None:
    """A program whose runner is killed ends as well: nobody would see how it goes on."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def hidden(arguments: list[str]) -> list[str]:
    """The arguments with the values of secrets left out."""
    found = []
    for item in arguments:
        key, equals, _ = item.partition("=")
        found.append(f"{key}=*********(redacted)" if equals and SECRET.search(key) else item)
    return found


def queue() -> list[str]:
    """Steps that wait or run, in their order; those whose runner was killed are out of it."""
    found = []
    for name in sorted(path.name for path in QUEUE.iterdir()):
        id_ = name.partition("-")[2]
        state = read(id_)
        if state is None or checked(state)["state"] in FINAL:
            leave_queue(id_)
        else:
            found.append(id_)
    return found


def running() -> bool:
    """Whether any step runs now; nothing is written and nobody is asked."""
    ids = [path.name.partition("-")[2] for path in QUEUE.iterdir()]
    return any((read(id_) or {}).get("state") == "RUNNING" and alive(id_) for id_ in ids)


def checked(state: Doc) -> Doc:
    """The state; INTERRUPTED where nobody runs the step any more."""
    if state["state"] in FINAL:
        return state
    begun = "runner" in state or seconds_since(state["created"]) > STARTS_S
    if not begun or alive(state["id"]):
        return state
    state = read(state["id"]) or state  # it may just have ended
    if state["state"] in FINAL:
        return state
    return ended(state, "INTERRUPTED", STOPPED)


def ended(state: Doc, final: str, reason: str) -> Doc:
    """The step has ended without its runner; S3 knows as well."""
    state = write({**state, "state": final, "ended": now(), "reason": reason})
    leave_queue(state["id"])
    Uploads(state["id"]).all(state)
    return state
