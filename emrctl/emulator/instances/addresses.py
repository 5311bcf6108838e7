"""Loopback addresses: one and another of its own for every EC2 instance, as EC2 gives them.

All of 127.0.0.0/8 is this machine's and nobody else's. With an address to itself, a node may use
Spark's fixed ports, and no program outside this machine reaches any of them.
"""

from __future__ import annotations

import secrets

from emrctl import ports
from emrctl.errors import EmrctlError

SSH_PORT = 2222
_TRIES = 50


def ssh_port() -> int:
    """The port of every instance's SSH server: 2222 unless somebody listens on it everywhere."""
    return ports.preferred(SSH_PORT)


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
        if address not in taken and ports.free(port, address) is not None:
            return address
    raise EmrctlError(
        "this machine has no loopback address for an EC2 instance",
        hint="Linux answers on all of 127.0.0.0/8; elsewhere only EMR clusters run on localhost.",
    )
