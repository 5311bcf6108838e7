#!/usr/bin/env python3
"""Steps on the primary of a standalone cluster: one after another, whoever is connected.

    step.py submit             a document on stdin: name and arguments; prints the step's
    step.py show [ID…]         the steps, or all of them, newest first
    step.py find NAME          the step of that name, or null
    step.py cancel ID          the step is asked to end
    step.py logs ID            its logs as a tar file
    step.py running            exit code 0 where any step runs
    step.py run ID             (what `submit` leaves running)

A step is a folder `steps/<id>` below EMRCTL_NODE (default ~/emrctl): state.json, stdout, stderr,
controller. `cluster.json` beside it says how many run side by side and where on S3 the logs go:
`<log_uri><cluster_id>/steps/<id>/`, while the step runs and before it counts as ended; its
executors' logs go to `<log_uri><cluster_id>/containers/<application>/`.

Who runs a step holds a lock on its folder as long as it lives. So a step whose runner was killed,
or whose node was stopped, is known to be INTERRUPTED, and holds nobody else up.
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

from _step_runner import STARTS_S, Runner, checked, ended, running
from _steps import FINAL, LOGS, NODE, QUEUE, STEPS, Doc, now, read, write


def main(verb: str, *given: str) -> int:
    """What the verb prints; 0, or 3 where there is no such step."""
    os.umask(0o077)
    for folder in (STEPS, QUEUE):
        folder.mkdir(parents=True, exist_ok=True)
    if verb == "run":
        return Runner(given[0]).run()
    if verb == "logs":
        return sent_logs(given[0])
    if verb == "running":
        return int(not running())
    found = VERBS[verb](*given)
    print(json.dumps(found))
    return 3 if found is None else 0


def submit() -> Doc:
    """The step waits or runs, detached from whoever asked."""
    wanted = json.load(sys.stdin)
    alphabet = random.SystemRandom()
    id_ = "s-" + "".join(alphabet.choices(string.ascii_uppercase + string.digits, k=13))
    folder = STEPS / id_
    (folder / "work").mkdir(parents=True)
    (folder / "command.json").write_text(json.dumps(wanted["arguments"]), encoding="utf-8")
    state = write({"id": id_, "name": wanted["name"], "state": "PENDING", "created": now()})
    (QUEUE / f"{time.time():017.6f}-{id_}").touch()
    detach(id_)
    end = time.monotonic() + STARTS_S
    while "runner" not in (state := read(id_) or state):
        if time.monotonic() > end:
            return ended(state, "FAILED", "its runner did not start")
        time.sleep(0.02)
    return state


def detach(id_: str) -> None:
    """A runner begins that no connection's end takes along."""
    command = [sys.executable, str(Path(__file__).resolve()), "run", id_]
    # An emulated node has no systemd of its own, whatever the machine has.
    if Path("/run/systemd/system").is_dir() and "EMRCTL_NODE_ROOT" not in os.environ:
        # Not of the login's session, which the system may clear away.
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        unit = ["systemd-run", "--quiet", "--collect", f"--unit=emrctl-step-{id_}"]
        user = [
            f"--uid={os.getuid()}",
            f"--setenv=HOME={Path.home()}",
            f"--setenv=EMRCTL_NODE={NODE}",
        ]
        subprocess.run([*root, *unit, *user, *command], check=True, stdin=subprocess.DEVNULL)
        return
    with (STEPS / id_ / "runner.log").open("ab") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def show(*ids: str) -> list[Doc]:
    """The steps that there are of these, or all of them; their states are true now."""
    names = ids or tuple(path.parent.name for path in STEPS.glob("*/state.json"))
    found = [checked(state) for state in map(read, names) if state is not None]
    return sorted(found, key=lambda state: state["created"], reverse=True)


def find(name: str) -> Doc | None:
    """The newest step of that name."""
    for state in show():
        if state["name"] == name:
            return state
    return None


def cancel(id_: str) -> Doc | None:
    """The step is asked to end; it may take a while."""
    state = read(id_)
    if state is None or checked(state)["state"] in FINAL:
        return state
    (STEPS / id_ / "cancel").touch()
    return {**state, "state": "CANCEL_PENDING"}


def sent_logs(id_: str) -> int:
    """The step's logs as they are now are on stdout."""
    if read(id_) is None:
        return 3
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz") as archive:
        for name in LOGS:
            path = STEPS / id_ / name
            if path.is_file():
                text = path.read_bytes()  # it grows meanwhile: what the header says must come
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
