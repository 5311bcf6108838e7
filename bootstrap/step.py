#!/usr/bin/env python3
"""Submit and run steps on the primary of a standalone cluster.

    step.py submit             read a document with name and arguments from stdin; print the step
    step.py show [ID…]         print these steps, or all steps, newest first
    step.py find NAME          print the newest step of that name, or null
    step.py cancel ID          cancel the step
    step.py logs ID            write its logs to stdout as a tar file
    step.py running            exit with 0 if a step is running
    step.py run ID             run the step (started by `submit`, in the background)

A step is a folder `steps/<id>` below EMRCTL_NODE (default ~/emrctl) with state.json, stdout, stderr
and controller. `cluster.json` beside it sets how many steps run at the same time, and where logs
are uploaded: to `<log_uri><cluster_id>/steps/<id>/`, and executor logs to
`<log_uri><cluster_id>/containers/<application>/`. Uploads happen while the step runs, and once more
before its final state is recorded.

The process that runs a step holds a lock on its folder until it exits. A step whose runner was
killed, or whose node was stopped, therefore becomes INTERRUPTED and does not block the queue.
"""

from __future__ import annotations

import io
import json
import os
import random
import string
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _step_runner import START_TIMEOUT_S, StepRunner, any_running, end_step, refresh_state
from _steps import FINAL, LOGS, NODE, QUEUE, STEPS, Document, now, read_state, write_state


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
        user = [
            f"--uid={os.getuid()}",
            f"--setenv=HOME={Path.home()}",
            f"--setenv=EMRCTL_NODE={NODE}",
        ]
        subprocess.run([*root, *unit, *user, *command], check=True, stdin=subprocess.DEVNULL)
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
