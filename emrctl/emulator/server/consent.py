"""What the user must know before the first script runs."""

from __future__ import annotations

from pathlib import Path

from emrctl import paths as places

TEXT = """\
The EMR on localhost runs bootstrap actions and steps on this machine, with your own rights.

Each node is a folder with a home and a Python of its own, and `sudo` changes nothing there; but
nothing stops a script from reading or changing whatever you can read or change. Run only what you
would run in your own shell.
"""


def _marker(home: Path) -> Path:
    return home / "consent"


def was_shown() -> bool:
    """Whether the text has been shown to the user of this home."""
    return _marker(places.emulator_home()).exists()


def remember() -> None:
    """From now on, the text counts as shown."""
    home = places.emulator_home()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _marker(home).touch(mode=0o600)
