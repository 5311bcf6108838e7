"""Find nodes, their keys, and connections to them."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.stub import Stubber

from emrctl.aws.target import Target
from emrctl.clusters.model import Node
from emrctl.errors import MissingPrerequisiteError, NotFoundError, UnreachableError
from emrctl.remote import host_keys, nodes, pages
from emrctl.remote.ssh import SshConnection, SshHost
from tests.emulator.fake_runtime import FakeRuntime
from tests.remote.connections import CLUSTER, ssm
from tests.remote.sshd import Sshd


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("primary", "i-1"),
        ("core", "i-2"),
        ("core-1", "i-2"),
        ("core-2", "i-3"),
        ("i-3", "i-3"),
        ("ip-10-0-0-2", "i-2"),
        ("ip-10-0-0-2.ec2.internal", "i-2"),
    ],
)
def test_find_node_by_role_number_id_and_host_name(name: str, id_: str) -> None:
    assert nodes.find_node(CLUSTER, name).id == id_


def test_find_node_unknown_name_lists_nodes() -> None:
    with pytest.raises(NotFoundError, match="no node 'task-1'") as caught:
        nodes.find_node(CLUSTER, "task-1")
    assert "core-2 (i-3)" in caught.value.hint


def test_shell_command_accepts_only_verified_host_key(tmp_path: Path) -> None:
    key = tmp_path / "k.pem"
    hop = SshConnection(
        host=SshHost(node="i-1", address="1.2.3.4"), identities=[key], check=lambda _: None
    )
    line = SshConnection(
        host=SshHost(node="i-2", address="10.0.0.2"),
        identities=[key],
        check=lambda _: None,
        jump=hop,
    )
    command = nodes.shell_command(line)
    assert command[-1] == "hadoop@10.0.0.2"
    assert "StrictHostKeyChecking=yes" in command
    assert "HostKeyAlias=i-2" in command
    assert f'UserKnownHostsFile="{host_keys.file()}"' in command
    [proxy] = [part for part in command if part.startswith("ProxyCommand=")]
    assert "HostKeyAlias=i-1" in proxy
    assert proxy.endswith("-W %h:%p hadoop@1.2.3.4")


def test_identities_without_key_pair_raises_unreachable(mocked: Target, standing: str) -> None:
    with pytest.raises(UnreachableError, match="has no key pair") as caught:
        nodes.identities(mocked, replace(CLUSTER, id=standing), nodes.Login())
    assert "cluster.key_pair" in caught.value.hint


def test_identities_finds_key_in_ssh_folder(
    mocked: Target, runtime: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "mine.pem").write_text("x")
    group = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    mocked.client("ec2").create_key_pair(KeyName="mine")
    made = mocked.client("emr").run_job_flow(
        Name="x",
        ReleaseLabel="emr-7.5.0",
        Instances={
            "InstanceGroups": [group],
            "Ec2KeyName": "mine",
            "KeepJobFlowAliveWhenNoSteps": True,
        },
    )
    found = nodes.identities(mocked, replace(CLUSTER, id=made["JobFlowId"]), nodes.Login())
    assert found == (tmp_path / ".ssh" / "mine.pem",)
    given = nodes.Login(identity=Path("~/k.pem"))
    assert nodes.identities(mocked, CLUSTER, given) == (tmp_path / "k.pem",)


def test_console_output_reads_ec2_api(mocked: Target) -> None:
    ec2 = mocked.client("ec2")
    [made] = ec2.run_instances(MinCount=1, MaxCount=1)["Instances"]
    assert "Linux" in host_keys.console_output(mocked, made["InstanceId"])
    with Stubber(ec2) as stub:
        stub.add_client_error("get_console_output", "UnsupportedOperation")
        stub.add_response("get_console_output", {"Output": "b2xk"})
        assert host_keys.console_output(mocked, "i-1") == "old"


def test_connect_runs_command_on_primary(
    mocked: Target, reached: pages.PageRequest, sshd: Sshd
) -> None:
    line = nodes.connect(mocked, reached.cluster, reached.cluster.nodes[0], reached.login, print)
    out = io.BytesIO()
    assert line.run("ls '/a b'", out, io.BytesIO()) == 0
    line.close()
    assert sshd.commands == ["ls '/a b'"]


# --- Session Manager ------------------------------------------------------------------------------


@pytest.fixture
def behind(mocked: Target, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Target:
    """AWS with a node that only Session Manager reaches: the SSH server on loopback."""
    monkeypatch.setenv("PLUGIN_LEADS_THERE", "1")
    monkeypatch.setattr(host_keys, "console_output", lambda _target, _node: sshd.console)
    return replace(mocked, ssh_port=sshd.port)


def _closed(sshd: Sshd) -> tuple[Node, nodes.Login]:
    node = replace(CLUSTER.nodes[0], name="primary", private_ip="127.0.0.1", session=True)
    return node, nodes.Login(identity=sshd.client_key)


def test_connect_without_open_port_uses_session(behind: Target, sshd: Sshd, plugin: Path) -> None:
    node, login = _closed(sshd)
    cluster = replace(CLUSTER, nodes=(node,))
    line = nodes.connect(behind, cluster, node, login, print)
    for number in (1, 2):
        with ssm(behind):
            assert line.run("true", io.BytesIO(), io.BytesIO()) == 0
        called = plugin.read_text().splitlines()
        assert len(called) == number
        assert line.forward is not None
        line.forward.close()  # like a session that ends: the connection is lost and reopened
        deadline = time.monotonic() + 60
        while line.alive:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    line.close()
    asked = json.loads(json.loads(called[0])[0][4])["Parameters"]
    assert (asked["host"], asked["portNumber"]) == (["127.0.0.1"], [str(sshd.port)])


def test_connect_without_plugin_raises_missing_prerequisite(
    behind: Target, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPrerequisiteError, match="session-manager-plugin is not on PATH"):
        nodes.connection_to(behind, *_closed(sshd)).transport()


def test_is_direct_for_nodes_with_sessions() -> None:
    primary = replace(CLUSTER.nodes[0], name="primary", session=True)
    worker = replace(CLUSTER.nodes[1], name="worker-1", session=True)
    assert nodes.is_direct(worker, primary)
