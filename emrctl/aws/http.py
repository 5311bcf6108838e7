"""HTTP requests to cluster web pages and to the emulator, without proxies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TIMEOUT_S = 5.0
MAX_BYTES = 256 * 2**20


def request(
    url: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    """Send a request to an `http://` URL, by default GET, and return the body of the response.

    The proxies of the environment are not used: pages are on loopback or on a private address.
    Raises OSError if the server does not answer or returns an error, and ValueError if the URL has
    another scheme or the body exceeds `MAX_BYTES`.
    """
    import urllib.request

    if not url.startswith("http://"):
        raise ValueError(f"{url} is not an http:// URL")
    asked = urllib.request.Request(  # noqa: S310
        url, data=body, headers=dict(headers or {}), method=method
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=timeout_s) as response:
        content: bytes = response.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{url} returned more than {MAX_BYTES:,} bytes")
    return content


def get_json(
    url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> Any:
    """Return the JSON document at `url`.

    Raises as `request` does, and ValueError if the body is not JSON.
    """
    accept = {"Accept": "application/json"}
    return json.loads(request(url, headers=accept | dict(headers or {}), timeout_s=timeout_s))
