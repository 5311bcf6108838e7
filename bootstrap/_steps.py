"""Steps as folders of the primary: what is written of them, and who holds them.

A step is a folder `steps/<id>` below EMRCTL_NODE (default ~/emrctl): state.json, stdout, stderr,
controller. Who runs a step holds a lock on its folder as long as it lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

NODE = Path(os.environ.get("EMRCTL_NODE") or Path.home() / "emrctl")
STEPS, QUEUE = NODE / "steps", NODE / "queue"
LOGS = ("controller", "stdout", "stderr")
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"}

Doc = dict[str, Any]


def cluster() -> Doc:
    """What the primary knows of its cluster."""
    with contextlib.suppress(FileNotFoundError):
        found: Doc = json.loads((NODE / "cluster.json").read_text(encoding="utf-8"))
        return found
    return {}


def read(id_: str) -> Doc | None:
    """The step's state as it was written last; None where there is no such step."""
    try:
        found: Doc = json.loads((STEPS / id_ / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def write(state: Doc) -> Doc:
    """The step's state is written, whole or not at all."""
    aside = STEPS / state["id"] / f"state.{os.getpid()}"
    aside.write_text(json.dumps(state), encoding="utf-8")
    aside.replace(STEPS / state["id"] / "state.json")
    return state


def now() -> str:
    """The time, as state.json has it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def seconds_since(moment: str) -> float:
    """How long ago that was."""
    return time.time() - datetime.fromisoformat(moment).timestamp()


def alive(id_: str) -> bool:
    """Whether somebody runs the step, or is about to."""
    with (STEPS / id_ / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def leave_queue(id_: str) -> None:
    """The step holds up nobody."""
    for entry in QUEUE.glob(f"*-{id_}"):
        with contextlib.suppress(FileNotFoundError):
            entry.unlink()
