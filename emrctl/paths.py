"""Where emrctl keeps what belongs to the user and not to a project."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """emrctl's home: `$EMRCTL_HOME`, else `~/.emrctl`. It need not exist yet."""
    chosen = os.environ.get("EMRCTL_HOME")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".emrctl"


def cache() -> Path:
    """Downloads that any project may share: `$EMRCTL_CACHE`, else `cache/` in emrctl's home."""
    chosen = os.environ.get("EMRCTL_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else home() / "cache"


def key_file(stack: str) -> Path:
    """The private key of a stack's own key pair, once emrctl has made it; it outlives the stack."""
    return home() / "keys" / f"{stack}.pem"


def emulator_home() -> Path:
    """The folder of the EMR on localhost: its state file, its credentials, its clusters."""
    return home() / "local"


def emulator_file() -> Path:
    """What a running emulator says of itself (JSON: endpoint, region, pid, home, credentials)."""
    return emulator_home() / "emulator.json"
