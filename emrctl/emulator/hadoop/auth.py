"""Authentication of YARN and of the web UIs of YARN and Spark.

RPC: Hadoop without Kerberos trusts any user name that a client sends. YARN's configuration maps one
random, secret name to the user with access, and every other name to `nobody`.

Web UIs: Hadoop's authentication filter is enabled with LDAP and a server that does not exist, so
that logging in is impossible. The filter still accepts the cookie it would set after a login,
signed with a key in a file of mode 600. The emulator reads that key and creates cookies for its
user. Their user, `viewer`, may not submit or kill applications: browsers send cookies to all ports
of a host, so that another page on this machine might see the cookie.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

VIEWER = "viewer"
_COOKIE_LIFETIME_S = 12 * 3600


@dataclass(frozen=True, kw_only=True)
class YarnCredentials:
    """The secret user name for YARN's RPC, and the file with the key that signs cookies."""

    signing_key: Path
    user: str


def new_credentials(folder: Path) -> YarnCredentials:
    """Create a random user name and a signing key in `folder`."""
    key = folder / "signing"
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32), encoding="utf-8")
    user = f"k{secrets.token_hex(12)}@{secrets.token_hex(12)}"
    return YarnCredentials(signing_key=key, user=user)


def filter_settings(signing_key: Path, prefix: str) -> dict[str, str]:
    """Return the properties of the authentication filter, with this prefix."""
    return {
        f"{prefix}type": "ldap",
        f"{prefix}ldap.providerurl": "ldap://127.0.0.1:1",
        f"{prefix}ldap.basedn": "dc=nobody",
        f"{prefix}signature.secret.file": str(signing_key),
        f"{prefix}cookie.path": "/",
    }


def cookie(signing_key: Path, user: str = VIEWER) -> str:
    """Return the cookie `hadoop.auth="…"` of a user, valid for 12 hours."""
    expires_ms = int((time.time() + _COOKIE_LIFETIME_S) * 1000)
    text = f"u={user}&p={user}&t=ldap&e={expires_ms}"
    mac = hmac.new(signing_key.read_bytes(), text.encode(), hashlib.sha256).digest()
    return f'hadoop.auth="{text}&s={base64.b64encode(mac).decode()}"'
