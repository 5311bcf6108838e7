"""A primary's folder on this machine, and what step.py says there."""

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


class Node:
    """A primary: its folder, and what step.py says there."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        (folder / "env.sh").write_text("export FROM_ENV_SH=yes\n")
        self.know(step_concurrency=1)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "EMRCTL_NODE": str(folder),
            "EMRCTL_NODE_ROOT": str(folder),
            **(environment or {}),
        }

    def know(self, **facts: Any) -> None:
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

    def ask(self, *arguments: str, text: str = "") -> Any:
        done = self.call(*arguments, text=text)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def submit(self, name: str, *arguments: str) -> str:
        return str(
            self.ask("submit", text=json.dumps({"name": name, "arguments": arguments}))["id"]
        )

    def run(self, name: str, script: str) -> str:
        return self.submit(name, "bash", "-c", script)

    def state(self, id_: str) -> dict[str, Any]:
        [found] = self.ask("show", id_)
        return dict(found)

    def until(self, id_: str, *states: str) -> dict[str, Any]:
        end = time.monotonic() + 60
        while (found := self.state(id_))["state"] not in states:
            assert time.monotonic() < end, found
            time.sleep(0.1)
        return found

    def text(self, id_: str, name: str) -> str:
        return (self.folder / "steps" / id_ / name).read_text()
