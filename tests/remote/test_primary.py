"""Connections to a primary by its instance id."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from emrctl import paths
from emrctl.aws.target import Target
from emrctl.errors import NoKeyError, UnavailableError
from emrctl.remote.nodes import Login, PrimaryConnection
from tests.emulator.ec2nodes import Ec2Nodes

STACK = "pets-main"


@pytest.fixture
def nodes(instances: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ec2Nodes]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / "keys"
    folder.mkdir()
    found = Ec2Nodes(instances, folder)
    paths.key_file(STACK).parent.mkdir(parents=True)
    shutil.copy(found.identity, paths.key_file(STACK))
    yield found
    found.terminate()


def launch(nodes: Ec2Nodes) -> str:
    marks = {"emrctl:stack": STACK, "emrctl:role": "primary", "emrctl:node": "primary"}
    tags = [{"Key": key, "Value": value} for key, value in marks.items()]
    return nodes.launch(TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])


def test_run_keeps_connection_and_reconnects(nodes: Ec2Nodes) -> None:
    primary = PrimaryConnection(nodes.target, launch(nodes))
    answer = primary.run("cat; echo aside >&2; exit 7", b"x" * 200_000)
    assert (answer.code, answer.out, answer.err) == (7, b"x" * 200_000, b"aside\n")
    line = primary.connection()
    assert primary.connection() is line
    line.transport().close()
    assert primary.run("echo again").out == b"again\n"
    assert primary.connection() is not line
    assert primary.private_ip == nodes.describe(primary.id)["PrivateIpAddress"]
    assert primary.run("kill -9 $$").code == 255  # ended by a signal; the connection stays open
    primary.close()


def test_run_stopped_primary_unavailable_until_restarted(
    nodes: Ec2Nodes,
) -> None:
    primary = PrimaryConnection(nodes.target, launch(nodes))
    primary.run("echo kept >file")
    nodes.ec2.stop_instances(InstanceIds=[primary.id])
    nodes.until(primary.id, "stopped")
    with pytest.raises(UnavailableError):
        primary.run("true")
    with pytest.raises(UnavailableError, match=f"the primary {primary.id} is stopped"):
        primary.run("true")
    nodes.ec2.start_instances(InstanceIds=[primary.id])
    nodes.until(primary.id, "running")
    assert primary.run("cat file").out == b"kept\n"
    primary.close()


def test_run_unknown_instance_unavailable(instances: Target) -> None:
    with pytest.raises(UnavailableError, match="instance i-0123456789abcdef0 does not exist"):
        PrimaryConnection(instances, "i-0123456789abcdef0").run("true")


def test_run_without_key_fails_at_once(nodes: Ec2Nodes) -> None:
    node = launch(nodes)
    paths.key_file(STACK).unlink()
    with pytest.raises((NoKeyError, UnavailableError), match=r"no private key|not on this machine"):
        PrimaryConnection(nodes.target, node).run("true")
    given = PrimaryConnection(nodes.target, node, Login(identity=nodes.identity))
    assert given.run("true").code == 0
    given.close()
