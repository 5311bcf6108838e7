"""A primary node as a folder on this machine, on which step.py runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[2] / "bootstrap" / "step.py"
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"}


class PrimaryNode:
    """A primary node: its folder, and calls of step.py."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        (folder / "env.sh").write_text("export FROM_ENV_SH=yes\n")
        self.write_cluster(step_concurrency=1)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "EMRCTL_NODE": str(folder),
            "EMRCTL_NODE_ROOT": str(folder),
            **(environment or {}),
        }

    def write_cluster(self, **facts: Any) -> None:
        (self.folder / "cluster.json").write_text(json.dumps(facts))

    def call(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, str(SCRIPT), *arguments],
            input=text.encode(),
            capture_output=True,
            env=self.environment,
            check=False,
            timeout=60,
        )

    def call_json(self, *arguments: str, text: str = "") -> Any:
        process = self.call(*arguments, text=text)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    def submit(self, name: str, *arguments: str) -> str:
        return str(
            self.call_json("submit", text=json.dumps({"name": name, "arguments": arguments}))["id"]
        )

    def run(self, name: str, script: str) -> str:
        return self.submit(name, "bash", "-c", script)

    def state(self, id_: str) -> dict[str, Any]:
        [state] = self.call_json("show", id_)
        return dict(state)

    def wait(self, id_: str, *states: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while (state := self.state(id_))["state"] not in states:
            assert time.monotonic() < deadline, state
            time.sleep(0.1)
        return state

    def text(self, id_: str, name: str) -> str:
        return (self.folder / "steps" / id_ / name).read_text()
