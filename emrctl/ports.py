"""Ports of this machine's loopback."""

from __future__ import annotations

import socket

from emrctl.errors import EmrctlError

LOOPBACK = "127.0.0.1"


def free(port: int, address: str = LOOPBACK) -> int | None:
    """The port, or any for 0, where one may listen on it now; None where one may not."""
    with socket.socket() as probe:
        # As servers do: connections that were closed a minute ago are not in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def preferred(port: int) -> int:
    """That port of loopback where it is free, else another; `EmrctlError` where none is."""
    found = free(port) or free(0)
    if found is None:
        hint = "Close some programs, then try again."
        raise EmrctlError(f"no port of {LOOPBACK} is free", hint=hint)
    return found
