"""EC2 instances of the emulator: real SSH servers, spoken to by paramiko and by OpenSSH."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emrctl.target import Target
from tests.emulator.ec2nodes import Ec2Nodes


@pytest.fixture
def nodes(instances: Target, tmp_path: Path) -> Iterator[Ec2Nodes]:
    made = Ec2Nodes(instances, tmp_path)
    yield made
    made.end()


def test_an_instance_from_its_launch_to_its_end(nodes: Ec2Nodes) -> None:
    node = nodes.launch()
    described = nodes.described(node)
    assert described["PublicIpAddress"].startswith("127.")
    assert described["PublicDnsName"] == described["PublicIpAddress"]
    with nodes.client(node) as client:
        _, out, err = client.exec_command("echo $HOME; whoami >&2; exit 7")
        assert Path(out.read().decode().strip()).name == "home"
        assert err.read()
        assert out.channel.recv_exit_status() == 7
    nodes.ec2.terminate_instances(InstanceIds=[node])
    assert nodes.until(node, "terminated") < 5


def test_openssh_logs_in_as_well(nodes: Ec2Nodes) -> None:
    node = nodes.launch()
    began = time.monotonic()
    done = subprocess.run(
        [*nodes.ssh(node), "cat; echo $0 >&2; exit 3"],
        input="what is said\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "what is said\n"), done.stderr
    assert time.monotonic() - began < 5
