"""Free ports of the loopback interface."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

from emrctl.errors import EmrctlError

LOOPBACK = "127.0.0.1"
# The inode of a connection that no process has open any more; its user is shown as root.
_CLOSED = "0"


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


def peer_user(connection: socket.socket) -> int | None:
    """Return the id of the user at the other end of a loopback connection of IPv4.

    None if the kernel does not list it: on other systems than Linux, or a closed connection.
    """
    near, far = _kernel_form(connection.getsockname()), _kernel_form(connection.getpeername())
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines():
                columns = line.split()
                # IPv4 is the end of IPv6 addresses.
                ends = columns[1].endswith(far) and columns[2].endswith(near)
                if ends and columns[9] != _CLOSED:
                    return int(columns[7])
    return None


def _kernel_form(address: tuple[str, int]) -> str:
    word = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    return f"{word:08X}:{address[1]:04X}"
