from __future__ import annotations

import ipaddress
import socket

import pytest

from emrctl import ports
from emrctl.emulator.instances import addresses
from emrctl.errors import EmrctlError


def test_addresses_are_this_machine_s_own_and_differ() -> None:
    found: set[str] = set()
    for _ in range(50):
        found.add(addresses.fresh(2222, frozenset(found)))
    assert len(found) == 50
    assert all(ipaddress.ip_address(one).is_loopback for one in found)
    assert not any(one.startswith("127.0.") for one in found)


def test_where_somebody_listens_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = iter([0, 7, 8, 0, 7, 9])
    monkeypatch.setattr("secrets.randbelow", lambda _: next(choice))
    with socket.create_server(("127.64.7.9", 0)) as other:
        port = other.getsockname()[1]
        assert addresses.fresh(port, frozenset()) == "127.64.7.10"


def test_a_machine_with_one_loopback_address_has_none_to_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "free", lambda *_: None)
    with pytest.raises(EmrctlError, match="no loopback address") as caught:
        addresses.fresh(2222, frozenset())
    assert "Linux" in caught.value.hint
    with pytest.raises(EmrctlError, match="no port"):
        addresses.ssh_port()


def test_the_port_is_another_where_everybody_s_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104 - taken on purpose
        monkeypatch.setattr(addresses, "SSH_PORT", other.getsockname()[1])
        assert addresses.ssh_port() not in (0, other.getsockname()[1])
