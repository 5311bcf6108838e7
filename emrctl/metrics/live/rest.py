"""Read REST APIs that may be unavailable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emrctl.errors import EmrctlError

Fetch = Callable[[str], Any]
"""Returns the JSON value at a path that begins with `/`; raises if there is none."""


def fetch_or_none(fetch: Fetch, path: str) -> Any:
    """Return the JSON value at `path`; None if the server is unavailable or sends no JSON."""
    try:
        return fetch(path)
    except (OSError, ValueError, EmrctlError):
        return None


def section(document: Any, *keys: str) -> dict[str, Any]:
    """Return the object at the nested `keys`; empty if any is absent or null."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def rows(document: Any, *keys: str) -> list[dict[str, Any]]:
    """Return the list of objects at `keys`; YARN returns null or one object for short lists."""
    value = section(document, *keys[:-1]).get(keys[-1]) if keys else document
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]
