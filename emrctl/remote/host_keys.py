"""Whom one speaks to: a node's host key, held against its console output and remembered.

The console is read over EC2's API, which nobody between here and the node can change. Keys are
remembered by the instance's id: addresses are given to other machines, ids are not.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl import paths
from emrctl.aws.errors import translated
from emrctl.remote.errors import HostKeyError, SilentConsoleError

if TYPE_CHECKING:
    from emrctl.aws.target import Target

_SECTION = re.compile(
    r"-----BEGIN SSH HOST KEY (KEYS|FINGERPRINTS)-----(.*?)-----END SSH HOST KEY \1-----", re.DOTALL
)
_KEY = re.compile(r"((?:ssh|ecdsa)-[\w@.-]+) ([A-Za-z0-9+/]{60,}={0,2})")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """A public host key: its type and its base64 text, as known_hosts files have them."""

    type: str
    text: str

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as OpenSSH prints it."""
        digest = hashlib.sha256(base64.b64decode(self.text)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def file() -> Path:
    """emrctl's own known_hosts; the user's is left alone."""
    return paths.home() / "known_hosts"


def known(node: str) -> tuple[HostKey, ...]:
    """The keys that the node had when it was reached before."""
    try:
        lines = file().read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    parts = (line.split() for line in lines if not line.startswith("#"))
    return tuple(HostKey(type=p[1], text=p[2]) for p in parts if len(p) >= 3 and p[0] == node)


def remember(node: str, key: HostKey) -> None:
    """The node's key is in emrctl's known_hosts, which only the user can read."""
    if key in known(node):
        return
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True)
    # One line in one write: nodes that are reached side by side do not meet in it.
    place = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(place, "w", encoding="utf-8") as known_hosts:
        known_hosts.write(f"{node} {key.type} {key.text}\n")


def check(node: str, shown: HostKey, witness: Callable[[], str], given: str | None = None) -> None:
    """`shown` is the node's key: remembered, or vouched for by its console, or `given` by the user.

    `HostKeyError` where it changed, where the console names others, and where nobody can say.
    """
    before = [key for key in known(node) if key.type == shown.type]
    if shown in before:
        return
    if before:
        hint = (
            "If the node was really made anew with the same id, take its lines out of "
            f"{file()}. Else somebody listens in between."
        )
        msg = (
            f"the host key of {node} has changed: {shown.fingerprint}, was {before[0].fingerprint}"
        )
        raise HostKeyError(msg, hint=hint)
    if given != shown.fingerprint:
        _vouched(node, shown, witness(), given)
    remember(node, shown)


def _vouched(node: str, shown: HostKey, console: str, given: str | None) -> None:
    if given is not None:
        msg = f"{node} shows {shown.fingerprint}, and --fingerprint says {given}"
        raise HostKeyError(msg, hint="Look at the fingerprint again; do not go on.")
    keys, prints = told(console)
    if not keys and not prints:
        hint = (
            "The console fills minutes after a node starts: try again. Else read the fingerprint "
            "on the node (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) and give it as "
            "--fingerprint SHA256:…"
        )
        msg = (
            f"nobody vouches for the host key of {node} ({shown.fingerprint}): its console is mute"
        )
        raise SilentConsoleError(msg, hint=hint)
    if shown not in keys and shown.fingerprint not in prints:
        msg = f"{node} shows the host key {shown.fingerprint}, and its console names others"
        raise HostKeyError(msg, hint="Somebody may listen in between; do not go on.")


def told(console: str) -> tuple[frozenset[HostKey], frozenset[str]]:
    """Keys and fingerprints that cloud-init printed when the node first started."""
    keys, prints = set[HostKey](), set[str]()
    for section in _SECTION.finditer(console):
        keys |= {HostKey(type=kind, text=text) for kind, text in _KEY.findall(section[2])}
        prints |= set(_FINGERPRINT.findall(section[2]))
    return frozenset(keys), frozenset(prints)


def console(target: Target, node: str) -> str:
    """What the node has printed on its console, the newest where EC2 has that."""
    from botocore.exceptions import ClientError

    ec2 = target.client("ec2")
    with translated(f"reading the console of {node}"):
        try:
            answer = ec2.get_console_output(InstanceId=node, Latest=True)
        except ClientError as error:  # instances that are not built on Nitro have no latest
            if error.response["Error"]["Code"] != "UnsupportedOperation":
                raise
            answer = ec2.get_console_output(InstanceId=node)
    return str(answer.get("Output") or "")
