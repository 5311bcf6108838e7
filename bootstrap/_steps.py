"""Step records on the primary of a standalone cluster.

A step is a folder `steps/<id>` below EMRCTL_NODE (default ~/emrctl) with state.json, stdout, stderr
and controller. The process that runs a step holds a lock on its folder until it exits.
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

Document = dict[str, Any]


def read_cluster() -> Document:
    """Return cluster.json, which describes the cluster; empty if the file does not exist."""
    with contextlib.suppress(FileNotFoundError):
        cluster: Document = json.loads((NODE / "cluster.json").read_text(encoding="utf-8"))
        return cluster
    return {}


def read_state(step_id: str) -> Document | None:
    """Return the step's state as last written; None if there is no such step."""
    try:
        text = (STEPS / step_id / "state.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    state: Document = json.loads(text)
    return state


def write_state(state: Document) -> Document:
    """Write the step's state atomically and return it."""
    temporary = STEPS / state["id"] / f"state.{os.getpid()}"
    temporary.write_text(json.dumps(state), encoding="utf-8")
    temporary.replace(STEPS / state["id"] / "state.json")
    return state


def now() -> str:
    """Return the time in the format of state.json: ISO 8601, UTC, milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def seconds_since(moment: str) -> float:
    """Return the seconds since a time in the format of `now`."""
    return time.time() - datetime.fromisoformat(moment).timestamp()


def has_runner(step_id: str) -> bool:
    """Return whether a process runs the step: it holds the step's lock."""
    with (STEPS / step_id / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def leave_queue(step_id: str) -> None:
    """Remove the step from the queue."""
    for entry in QUEUE.glob(f"*-{step_id}"):
        with contextlib.suppress(FileNotFoundError):
            entry.unlink()
