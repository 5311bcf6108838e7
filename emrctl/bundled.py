"""Where stacks/, bootstrap/ and jobs/ lie: at the repository's root, or inside the package."""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The folder that holds `stacks/`, `bootstrap/` and `jobs/`."""
    inside = _PACKAGE / "_bundled"
    return inside if inside.is_dir() else _PACKAGE.parent


def import_stacks() -> None:
    """`import stacks` finds ours, however emrctl was installed."""
    place = str(root())
    if place not in sys.path:
        # First: a project of the user's may have a folder of that name as well.
        sys.path.insert(0, place)
