"""Run one step: wait for its turn, run its program, record its result.

A step whose runner was killed, or whose node was stopped, becomes INTERRUPTED and leaves the queue.
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

from _step_logs import StepUploads
from _steps import (
    FINAL,
    NODE,
    QUEUE,
    STEPS,
    Document,
    has_runner,
    leave_queue,
    now,
    read_cluster,
    read_state,
    seconds_since,
    write_state,
)

POLL_S, START_TIMEOUT_S, GRACE_S = 0.2, 20.0, 15.0
SECRET = re.compile(
    r"secret|passw(?:or)?d|passphrase|passcode|pwd|token|credential"
    r"|(?:access|account|api|encryption|private|signing)[._-]?key",
    re.IGNORECASE,
)
INTERRUPTED = "the primary was stopped, or the step's runner was killed"
PR_SET_PDEATHSIG = 1


class StepRunner:
    """Runs one step when the queue has room for it."""

    def __init__(self, step_id: str) -> None:
        self.id, self.folder = step_id, STEPS / step_id
        self.state: Document = read_state(step_id) or {}
        self.uploads = StepUploads(step_id)
        self.child: subprocess.Popen[bytes] | None = None
        self.cancelled_at, self.terminating = 0.0, False

    def run(self) -> int:
        """Run the step to its end and upload its logs."""
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.state = read_state(self.id) or self.state
            if self.state["state"] in FINAL:  # ended before this process started
                return 0
            signal.signal(signal.SIGTERM, self._terminate)
            self._update(runner=os.getpid())
            self.uploads.upload(self.state)
            self._finish(*(self._run_program() if self._wait_for_turn() else self._stopped()))
        return 0

    def _update(self, **changes: Any) -> None:
        self.state = write_state({**self.state, **changes})

    def _log(self, text: str) -> None:
        with (self.folder / "controller").open("a", encoding="utf-8") as file:
            file.write(f"{now()} INFO {text}\n")

    def _terminate(self, *_: object) -> None:
        """Handle SIGTERM, sent when the node is stopped: the step's program is ended too."""
        self.terminating = True

    @property
    def stopping(self) -> bool:
        """Whether the step is cancelled or its node is stopping."""
        return self.terminating or (self.folder / "cancel").exists()

    def _stopped(self) -> tuple[str, str]:
        """Return the final state and the reason of a step that did not run to its end."""
        if (self.folder / "cancel").exists():
            return "CANCELLED", "cancelled" if self.child else "cancelled before it started"
        return "INTERRUPTED", INTERRUPTED

    def _wait_for_turn(self) -> bool:
        """Wait until the step may run; return False if it is cancelled first."""
        slots = int(read_cluster().get("step_concurrency", 1))
        while not self.stopping:
            if self.id in list_queue()[:slots]:
                return True
            time.sleep(POLL_S)
        return False

    def _run_program(self) -> tuple[str, str]:
        """Run the step's program; return the final state and the reason."""
        arguments = json.loads((self.folder / "command.json").read_text(encoding="utf-8"))
        self._update(state="RUNNING", started=now())
        self._log(f"startExec '{' '.join(redact(arguments))}'")
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            self.child = subprocess.Popen(
                ["bash", "-c", '. "$0/env.sh" && exec "$@"', str(NODE), *arguments],
                cwd=self.folder / "work",
                env={**os.environ, "EMRCTL_STEP_ID": self.id},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=exit_with_parent,  # noqa: PLW1509 - no other thread is running yet
            )
        self.uploads.start(lambda: self.state)
        code = self._wait_for_exit(self.child)
        self._update(exit_code=code)
        self._log(f"waitProcessCompletion ended with exit code {code}")
        if self.stopping:
            return self._stopped()
        return ("COMPLETED", "") if code == 0 else ("FAILED", f"exit code {code}")

    def _wait_for_exit(self, child: subprocess.Popen[bytes]) -> int:
        """Return the program's exit code, 128 + signal number if it was killed."""
        while (code := child.poll()) is None:
            if self.stopping:
                self._stop_program(child)
            time.sleep(POLL_S)
        with contextlib.suppress(OSError):  # kill what it left running in its group
            os.killpg(child.pid, signal.SIGKILL)
        return code if code >= 0 else 128 - code

    def _stop_program(self, child: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM, and SIGKILL once the program had time to write its event log."""
        first = not self.cancelled_at
        self.cancelled_at = self.cancelled_at or time.monotonic()
        if first and not self.terminating:
            self._update(state="CANCEL_PENDING")
        late = time.monotonic() - self.cancelled_at > GRACE_S
        if first or late:
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL if late else signal.SIGTERM)

    def _finish(self, final: str, reason: str) -> None:
        """Upload everything, executor logs included, before the final state becomes visible."""
        self.uploads.stop()
        leave_queue(self.id)
        state = {**self.state, "state": final, "ended": now(), "reason": reason}
        self._log(f"Step is {final} {reason}".rstrip())
        self.uploads.upload(state)
        self.state = write_state(state)


def exit_with_parent() -> None:
    """Terminate the program if its runner is killed, as nothing would record its result."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def redact(arguments: list[str]) -> list[str]:
    """Return the arguments with the values of secrets replaced."""
    redacted = []
    for item in arguments:
        key, equals, _ = item.partition("=")
        redacted.append(f"{key}=*********(redacted)" if equals and SECRET.search(key) else item)
    return redacted


def list_queue() -> list[str]:
    """Return the steps that wait or run, in order; drop those whose runner was killed."""
    step_ids = []
    for name in sorted(path.name for path in QUEUE.iterdir()):
        step_id = name.partition("-")[2]
        state = read_state(step_id)
        if state is None or refresh_state(state)["state"] in FINAL:
            leave_queue(step_id)
        else:
            step_ids.append(step_id)
    return step_ids


def any_running() -> bool:
    """Return whether a step is running; writes nothing."""
    step_ids = [path.name.partition("-")[2] for path in QUEUE.iterdir()]
    return any(
        (read_state(one) or {}).get("state") == "RUNNING" and has_runner(one) for one in step_ids
    )


def refresh_state(state: Document) -> Document:
    """Return the state, changed to INTERRUPTED if the step's runner is gone."""
    if state["state"] in FINAL:
        return state
    runner_expected = "runner" in state or seconds_since(state["created"]) > START_TIMEOUT_S
    if not runner_expected or has_runner(state["id"]):
        return state
    state = read_state(state["id"]) or state  # it may have ended in the meantime
    if state["state"] in FINAL:
        return state
    return end_step(state, "INTERRUPTED", INTERRUPTED)


def end_step(state: Document, final: str, reason: str) -> Document:
    """Record and upload the end of a step that has no runner."""
    state = write_state({**state, "state": final, "ended": now(), "reason": reason})
    leave_queue(state["id"])
    StepUploads(state["id"]).upload(state)
    return state
