#!/usr/bin/env python3
"""Submit and run steps on the primary of a standalone cluster.

    step.py submit             read a document with name and arguments from stdin; print the step
    step.py show [ID…]         print these steps, or all steps, newest first
    step.py find NAME          print the newest step of that name, or null
    step.py cancel ID          cancel the step
    step.py logs ID            write its logs to stdout as a tar file
    step.py running            exit with 0 if a step is running
    step.py run ID             run the step (started by `submit`, in the background)

See _steps.py for the files of a step. `cluster.json` beside `steps/` sets how many steps run at the
same time, and where logs are uploaded: to `<log_uri><cluster_id>/steps/<id>/`, and executor logs to
`<log_uri><cluster_id>/containers/<application>/`. Uploads happen while the step runs, and once more
before its final state is recorded.

A step whose runner was killed, or whose node was stopped, becomes INTERRUPTED and leaves the queue.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import json
import os
import random
import re
import signal
import string
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _steps import (
    FINAL,
    LOGS,
    NODE,
    QUEUE,
    STEPS,
    Document,
    StepUploads,
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


def main(verb: str, *arguments: str) -> int:
    """Run one verb; return 0, or 3 if the step does not exist."""
    os.umask(0o077)
    for folder in (STEPS, QUEUE):
        folder.mkdir(parents=True, exist_ok=True)
    if verb == "run":
        return StepRunner(arguments[0]).run()
    if verb == "logs":
        return write_logs(arguments[0])
    if verb == "running":
        return int(not any_running())
    result = VERBS[verb](*arguments)
    print(json.dumps(result))
    return 3 if result is None else 0


def submit() -> Document:
    """Add a step to the queue and start its runner, which survives the caller's connection."""
    request = json.load(sys.stdin)
    alphabet = random.SystemRandom()
    step_id = "s-" + "".join(alphabet.choices(string.ascii_uppercase + string.digits, k=13))
    folder = STEPS / step_id
    (folder / "work").mkdir(parents=True)
    (folder / "command.json").write_text(json.dumps(request["arguments"]), encoding="utf-8")
    state = {"id": step_id, "name": request["name"], "state": "PENDING", "created": now()}
    write_state(state)
    (QUEUE / f"{time.time():017.6f}-{step_id}").touch()
    start_runner(step_id)
    deadline = time.monotonic() + START_TIMEOUT_S
    while "runner" not in (state := read_state(step_id) or state):
        if time.monotonic() > deadline:
            return end_step(state, "FAILED", "its runner did not start")
        time.sleep(0.02)
    return state


def start_runner(step_id: str) -> None:
    """Start `step.py run` outside the caller's session."""
    command = [sys.executable, str(Path(__file__).resolve()), "run", step_id]
    # An emulated node has no systemd, even if the machine has.
    if Path("/run/systemd/system").is_dir() and "EMRCTL_NODE_ROOT" not in os.environ:
        # systemd may kill the processes of a login session when it ends, but not a unit.
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        unit = ["systemd-run", "--quiet", "--collect", f"--unit=emrctl-step-{step_id}"]
        unit += [
            f"--uid={os.getuid()}",
            f"--setenv=HOME={Path.home()}",
            f"--setenv=EMRCTL_NODE={NODE}",
        ]
        subprocess.run([*root, *unit, *command], check=True, stdin=subprocess.DEVNULL)
        return
    with (STEPS / step_id / "runner.log").open("ab") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def show(*step_ids: str) -> list[Document]:
    """Return the current states of these steps, or of all steps, newest first."""
    step_ids = step_ids or tuple(path.parent.name for path in STEPS.glob("*/state.json"))
    states = [refresh_state(state) for state in map(read_state, step_ids) if state is not None]
    return sorted(states, key=lambda state: state["created"], reverse=True)


def find(name: str) -> Document | None:
    """Return the newest step of that name."""
    return next((state for state in show() if state["name"] == name), None)


def cancel(step_id: str) -> Document | None:
    """Request cancellation; the runner stops the program."""
    state = read_state(step_id)
    if state is None or refresh_state(state)["state"] in FINAL:
        return state
    (STEPS / step_id / "cancel").touch()
    return {**state, "state": "CANCEL_PENDING"}


def write_logs(step_id: str) -> int:
    """Write the step's current logs to stdout as a tar file."""
    if read_state(step_id) is None:
        return 3
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz") as archive:
        for name in LOGS:
            path = STEPS / step_id / name
            if path.is_file():
                text = path.read_bytes()  # read at once: the file grows, the header has a size
                member = tarfile.TarInfo(name)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
    return 0


# Running


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


VERBS: dict[str, Callable[..., Any]] = {
    "submit": submit,
    "show": show,
    "find": find,
    "cancel": cancel,
}


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in {*VERBS, "run", "logs", "running"}:
        sys.exit("usage: step.py submit|show|find|cancel|logs|running|run [ID…]")
    sys.exit(main(*sys.argv[1:]))
