"""The notice that users see before the first script runs."""

from __future__ import annotations

from pathlib import Path

from emrctl import paths

TEXT = """\
The EMR on localhost runs bootstrap actions and steps on this machine, with your own rights.

Each node is a folder with its own home and Python, and `sudo` does not change the user. Scripts can
read and change everything that you can. Run only what you would run in your own shell.
"""


def _marker(home: Path) -> Path:
    return home / "consent"


def was_shown() -> bool:
    """Return whether the notice has been shown to the user of this home."""
    return _marker(paths.emulator_home()).exists()


def remember() -> None:
    """Record that the notice has been shown."""
    home = paths.emulator_home()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _marker(home).touch(mode=0o600)
