"""Verify SSH host keys against the node's console output, and store verified keys.

The console output comes from EC2's API, so an attacker on the network cannot change it. Keys are
stored by instance id, since addresses are reused by other machines.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emrctl import paths
from emrctl.aws.errors import error_code, translated
from emrctl.aws.target import Target
from emrctl.errors import HostKeyError, NoConsoleOutputError

_SECTION = re.compile(
    r"-----BEGIN SSH HOST KEY (KEYS|FINGERPRINTS)-----(.*?)-----END SSH HOST KEY \1-----", re.DOTALL
)
_KEY = re.compile(r"((?:ssh|ecdsa)-[\w@.-]+) ([A-Za-z0-9+/]{60,}={0,2})")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """A public host key: type and base64 text as in known_hosts files."""

    type: str
    text: str

    @property
    def fingerprint(self) -> str:
        """The fingerprint in OpenSSH's format, `SHA256:…`."""
        digest = hashlib.sha256(base64.b64decode(self.text)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def file() -> Path:
    """Return emrctl's known_hosts file; the user's own file is not changed."""
    return paths.home() / "known_hosts"


def known(node: str) -> tuple[HostKey, ...]:
    """Return the stored keys of the node."""
    try:
        lines = file().read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    parts = (line.split() for line in lines if not line.startswith("#"))
    return tuple(HostKey(type=p[1], text=p[2]) for p in parts if len(p) >= 3 and p[0] == node)


def remember(node: str, key: HostKey) -> None:
    """Store the node's key in emrctl's known_hosts (mode 600)."""
    if key in known(node):
        return
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write per line, since several nodes may be added at the same time.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as known_hosts:
        known_hosts.write(f"{node} {key.type} {key.text}\n")


def check(
    node: str, key: HostKey, console: Callable[[], str], fingerprint: str | None = None
) -> None:
    """Verify the node's key: stored before, in its console output, or with the user's fingerprint.

    Raises `HostKeyError` if the key changed, if the console shows other keys, or if it shows none.
    """
    stored = [other for other in known(node) if other.type == key.type]
    if key in stored:
        return
    if stored:
        hint = (
            f"If the node was recreated with the same id, remove its lines from {file()}. "
            "Otherwise the connection may be intercepted."
        )
        msg = f"the host key of {node} has changed: {key.fingerprint}, was {stored[0].fingerprint}"
        raise HostKeyError(msg, hint=hint)
    if fingerprint is not None and fingerprint != key.fingerprint:
        msg = f"the host key of {node} is {key.fingerprint}, not --fingerprint {fingerprint}"
        raise HostKeyError(msg, hint="Compare the fingerprint again; do not connect otherwise.")
    if fingerprint is None:
        _check_console(node, key, console())
    remember(node, key)


def _check_console(node: str, key: HostKey, output: str) -> None:
    keys, fingerprints = parse_console(output)
    if not keys and not fingerprints:
        hint = (
            "Console output appears minutes after a node starts: try again. Or read the "
            "fingerprint on the node (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) and "
            "pass it as --fingerprint SHA256:…"
        )
        msg = f"cannot verify the host key of {node} ({key.fingerprint}): no console output yet"
        raise NoConsoleOutputError(msg, hint=hint)
    if key not in keys and key.fingerprint not in fingerprints:
        msg = f"the host key {key.fingerprint} of {node} is not among those in its console output"
        raise HostKeyError(msg, hint="The connection may be intercepted; do not connect.")


def parse_console(output: str) -> tuple[frozenset[HostKey], frozenset[str]]:
    """Return the keys and fingerprints that cloud-init printed when the node first started."""
    keys, fingerprints = set[HostKey](), set[str]()
    for section in _SECTION.finditer(output):
        keys |= {HostKey(type=kind, text=text) for kind, text in _KEY.findall(section[2])}
        fingerprints |= set(_FINGERPRINT.findall(section[2]))
    return frozenset(keys), frozenset(fingerprints)


def console_output(target: Target, node: str) -> str:
    """Return the node's console output, the latest if EC2 has it."""
    from botocore.exceptions import ClientError

    ec2 = target.client("ec2")
    with translated(f"reading the console of {node}"):
        try:
            answer = ec2.get_console_output(InstanceId=node, Latest=True)
        except ClientError as error:  # only Nitro instances support Latest
            if error_code(error) != "UnsupportedOperation":
                raise
            answer = ec2.get_console_output(InstanceId=node)
    return str(answer.get("Output") or "")
