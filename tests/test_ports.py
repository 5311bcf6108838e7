from __future__ import annotations

import itertools
import socket

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
