from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys

import pytest

from emrctl import ports
from emrctl.errors import EmrctlError


def test_free_port_in_use_returns_none() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        assert ports.free(port) is None
        assert ports.preferred(port) not in {port, 0}
    assert ports.free(port) == ports.preferred(port) == port


def test_free_port_in_use_on_other_address_is_free() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        assert ports.free(port, "127.0.0.2") == port


def test_preferred_no_free_port_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = itertools.repeat(None)
    monkeypatch.setattr(ports, "free", lambda _port: next(answers))
    with pytest.raises(EmrctlError, match="no port"):
        ports.preferred(8088)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/net/tcp")
def test_peer_user_of_own_connection_is_own_user() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        with socket.create_connection(server.getsockname()):
            accepted, _ = server.accept()
            assert ports.peer_user(accepted) == os.geteuid()
        accepted.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_peer_user_of_other_user_is_that_user() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        command = ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port} && cat <&3"]
        with subprocess.Popen(command, user=65534, group=65534, cwd="/"):
            accepted, _ = server.accept()
            with accepted:
                assert ports.peer_user(accepted) == 65534
