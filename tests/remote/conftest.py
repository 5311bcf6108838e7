"""An SSH server on loopback and an HTTP server behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.remote import host_keys, nodes, pages
from emrctl.remote.ssh import SshHost
from tests.remote import connections
from tests.remote.connections import CLUSTER
from tests.remote.sshd import Sshd


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    server = Sshd(tmp_path)
    yield server
    server.end()


@pytest.fixture
def page() -> Iterator[int]:
    """The port of an HTTP server on loopback, like YARN's on a node."""
    with connections.served(lambda path: f"the page {path}\n".encode() * 20_000) as port:
        yield port


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return connections.plugin(tmp_path, monkeypatch)


@pytest.fixture
def reached(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> pages.PageRequest:
    """A page request to a cluster whose primary is the SSH server on loopback."""
    monkeypatch.setattr(host_keys, "console_output", lambda _target, _node: sshd.console)
    monkeypatch.setattr(
        nodes, "SshHost", lambda node, address: SshHost(node=node, address=address, port=sshd.port)
    )
    primary = replace(CLUSTER.nodes[0], private_dns="127.0.0.1")
    cluster = replace(CLUSTER, nodes=(primary,))
    login = nodes.Login(identity=sshd.client_key)
    return pages.PageRequest(cluster=cluster, page="yarn", login=login)
