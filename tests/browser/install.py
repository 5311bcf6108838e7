"""Installs what the tests of pages need: Playwright from the lock file, Chromium from Debian.

    python -m tests.browser.install

Exits with 1 and the reason if one of them cannot be installed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROOT = Path(__file__).resolve().parents[2]


def chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> int:
    """Install what is missing; return the exit code."""
    if importlib.util.find_spec("playwright") is None:
        uv = str(Path(sys.executable).with_name("uv"))
        flags = ("--frozen", "--inexact", "--only-group", "browser")
        if not _run([uv, "sync", "--quiet", *flags]):
            return 1
    if chromium() is None:
        apt = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
        sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
        updated = _run([*sudo, "apt-get", "update"])
        if not (updated and _run([*sudo, *apt, "fonts-liberation"])):
            return 1
    return 0


def _run(command: Sequence[str]) -> bool:
    """Run a command; print its output only if it fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return False
    if done.returncode:
        print(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}", file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
