"""Asking a REST surface that may be away: absence is an answer, not a failure."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

from emrctl.errors import EmrctlError

Fetch = Callable[[str], Any]
"""Takes a path that begins with `/`, gives the JSON value there, raises where there is none."""


def fetcher(base_url: str, *, timeout_s: float = 5.0) -> Fetch:
    """A `Fetch` over HTTP below `base_url`; no answer may take longer than `timeout_s`."""
    base = base_url.rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise ValueError(f"'{base_url}' is no http address")

    def fetch(path: str) -> Any:
        request = urllib.request.Request(base + path, headers={"Accept": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return json.loads(answer.read())

    return fetch


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
