"""Location of stacks/, bootstrap/ and jobs/: the repository's root or the installed package."""

from __future__ import annotations

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Return the folder that contains `stacks/`, `bootstrap/` and `jobs/`."""
    inside = _PACKAGE / "_bundled"
    return inside if inside.is_dir() else _PACKAGE.parent


def import_stacks() -> None:
    """Make emrctl's `stacks` importable."""
    folder = str(root())
    if folder not in sys.path:
        # At the front, because the user's project may have a folder of the same name.
        sys.path.insert(0, folder)
