"""The way to a primary by its id alone: found by its tags, kept, made again when it is cut."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from emrctl import paths
from emrctl.aws.target import Target
from emrctl.errors import UnavailableError
from emrctl.remote.errors import NoKeyError
from emrctl.remote.nodes import Login
from emrctl.remote.primary import Primary
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
    found.end()


def launch(nodes: Ec2Nodes) -> str:
    marks = {"emrctl:stack": STACK, "emrctl:role": "primary", "emrctl:node": "primary"}
    tags = [{"Key": key, "Value": value} for key, value in marks.items()]
    return nodes.launch(TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])


def test_commands_run_over_one_line_that_is_made_again_when_it_is_cut(nodes: Ec2Nodes) -> None:
    primary = Primary(nodes.target, launch(nodes))
    answer = primary.run("cat; echo aside >&2; exit 7", b"x" * 200_000)
    assert (answer.code, answer.out, answer.err) == (7, b"x" * 200_000, b"aside\n")
    line = primary.line()
    assert primary.line() is line
    line.transport().close()
    assert primary.run("echo again").out == b"again\n"
    assert primary.line() is not line
    assert primary.private_ip == nodes.described(primary.id)["PrivateIpAddress"]
    assert primary.run("kill -9 $$").code == 255  # ended by a signal, and the line stands
    primary.close()


def test_a_primary_that_is_stopped_is_silent_and_speaks_at_its_next_address(
    nodes: Ec2Nodes,
) -> None:
    primary = Primary(nodes.target, launch(nodes))
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


def test_what_is_no_instance_is_silent(instances: Target) -> None:
    with pytest.raises(UnavailableError, match="there is no instance i-0123456789abcdef0"):
        Primary(instances, "i-0123456789abcdef0").run("true")


def test_without_its_key_nobody_waits(nodes: Ec2Nodes) -> None:
    node = launch(nodes)
    paths.key_file(STACK).unlink()
    with pytest.raises((NoKeyError, UnavailableError), match=r"no key here|not on this machine"):
        Primary(nodes.target, node).run("true")
    given = Primary(nodes.target, node, Login(identity=nodes.identity))
    assert given.run("true").code == 0
    given.close()
