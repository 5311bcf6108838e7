"""The door of YARN's and Spark's own web pages: nobody can log in, but a cookie opens it.

Hadoop's authentication filter is on, of a kind (LDAP) whose server does not exist. What it
accepts instead is the cookie that it would give to whoever has logged in, signed with a secret in
a file of mode 600. Only the emulator reads that file, and makes such cookies for its user.

The cookie's user may look and nothing else: it is in no list of those who may submit or kill.
Cookies do not keep to one port, and a page elsewhere on this machine might see it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from pathlib import Path

VIEWER = "viewer"
_LASTS_S = 12 * 3600


def settings(secret: Path, prefix: str) -> dict[str, str]:
    """The filter's settings, each name with that prefix."""
    return {
        f"{prefix}type": "ldap",
        f"{prefix}ldap.providerurl": "ldap://127.0.0.1:1",
        f"{prefix}ldap.basedn": "dc=nobody",
        f"{prefix}signature.secret.file": str(secret),
        f"{prefix}cookie.path": "/",
    }


def cookie(secret: Path, user: str = VIEWER) -> str:
    """`hadoop.auth="…"` for that user, valid for half a day."""
    expires_ms = int((time.time() + _LASTS_S) * 1000)
    text = f"u={user}&p={user}&t=ldap&e={expires_ms}"
    mac = hmac.new(secret.read_bytes(), text.encode(), hashlib.sha256).digest()
    return f'hadoop.auth="{text}&s={base64.b64encode(mac).decode()}"'
