"""Loopback addresses: one and another of its own for every EC2 instance, as EC2 gives them.

All of 127.0.0.0/8 is this machine's and nobody else's. With an address to itself, a node may use
Spark's fixed ports, and no program outside this machine reaches any of them.
"""

from __future__ import annotations

import secrets
import socket

from emrctl.errors import EmrctlError

SSH_PORT = 2222
_TRIES = 50


def ssh_port() -> int:
    """The port of every instance's SSH server: 2222 unless somebody listens on it everywhere."""
    for wanted in (SSH_PORT, 0):
        port = _bound("127.0.0.1", wanted)
        if port is not None:
            return port
    raise EmrctlError("no port of 127.0.0.1 is free", hint="Close some programs, then try again.")


def fresh(port: int, taken: frozenset[str]) -> str:
    """A loopback address that is not among those taken and on which that port is free."""
    for _ in range(_TRIES):
        # Low ones have names of their own (127.0.0.53, 127.0.1.1) or are chosen by people.
        one, two, three = (
            64 + secrets.randbelow(128),
            secrets.randbelow(256),
            secrets.randbelow(254),
        )
        address = f"127.{one}.{two}.{three + 1}"
        if address not in taken and _bound(address, port) is not None:
            return address
    raise EmrctlError(
        "this machine has no loopback address for an EC2 instance",
        hint="Linux answers on all of 127.0.0.0/8; elsewhere only EMR clusters run on localhost.",
    )


def _bound(address: str, port: int) -> int | None:
    """The port, or any for 0, where one may listen on it; None where one may not."""
    with socket.socket() as probe:
        # As servers do: connections that were closed a minute ago are not in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])
