"""Free ports of the loopback interface."""

from __future__ import annotations

import socket

from emrctl.errors import EmrctlError

LOOPBACK = "127.0.0.1"


def free(port: int, address: str = LOOPBACK) -> int | None:
    """Return the port if it is free, else None; 0 means any free port."""
    with socket.socket() as probe:
        # Like servers: ignore connections in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def preferred(port: int) -> int:
    """Return the port if it is free, else another; raises `EmrctlError` if none is free."""
    free_port = free(port) or free(0)
    if free_port is None:
        hint = "Close some programs, then try again."
        raise EmrctlError(f"no port of {LOOPBACK} is free", hint=hint)
    return free_port
