"""Asking a REST surface that may be away: absence is an answer, not a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emrctl.errors import EmrctlError

Fetch = Callable[[str], Any]
"""Takes a path that begins with `/`, gives the JSON value there, raises where there is none."""


def ask(fetch: Fetch, path: str) -> Any:
    """What `fetch` gives for `path`; None where nothing answers, or answers with no JSON."""
    try:
        return fetch(path)
    except (OSError, ValueError, EmrctlError):
        return None


def section(document: Any, *keys: str) -> dict[str, Any]:
    """The object under `keys`, one below the other; empty where any is absent or null."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def rows(document: Any, *keys: str) -> list[dict[str, Any]]:
    """The list of objects under `keys`; YARN writes null, or one bare object, for short lists."""
    found = section(document, *keys[:-1]).get(keys[-1]) if keys else document
    listed = found if isinstance(found, list) else [found]
    return [item for item in listed if isinstance(item, dict)]
