"""Lifecycle of EC2 instances on the emulator: launch, stop, start, reboot, terminate."""

from __future__ import annotations

import base64
import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl import ports
from emrctl.aws.target import Target
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.faults import Faults
from emrctl.emulator.instances import instance_manager
from emrctl.emulator.instances.instance_manager import InstanceManager
from emrctl.emulator.moto import ec2
from emrctl.errors import EmrctlError
from emrctl.remote import host_keys
from tests.emulator.conftest import Await
from tests.emulator.ec2nodes import Ec2Nodes, alive, gone
from tests.emulator.fake_runtime import FakeRuntime

DAEMON = "setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $!"


def test_launch_and_terminate_instance(ec2nodes: Ec2Nodes) -> None:
    node = ec2nodes.launch()
    instance = ec2nodes.describe(node)
    assert instance["PublicIpAddress"] != instance["PrivateIpAddress"]
    assert instance["PublicDnsName"] == instance["PublicIpAddress"]
    assert instance["PrivateDnsName"] == instance["PrivateIpAddress"]
    interface = instance["NetworkInterfaces"][0]
    assert interface["PrivateIpAddress"] == instance["PrivateIpAddress"]
    assert interface["Association"]["PublicIp"] == instance["PublicIpAddress"]
    home, daemon = ec2nodes.run(node, f"pwd; {DAEMON}").stdout.split()
    assert alive(daemon)
    ec2nodes.ec2.terminate_instances(InstanceIds=[node])
    ec2nodes.until(node, "terminated")
    assert not alive(daemon)
    assert not Path(home).exists()
    again = ec2nodes.ec2.terminate_instances(InstanceIds=[node])["TerminatingInstances"][0]
    assert again["PreviousState"]["Name"] == "terminated"


def test_stop_and_start_keep_files_and_change_public_address(
    ec2nodes: Ec2Nodes,
) -> None:
    node = ec2nodes.launch()
    before, console = ec2nodes.describe(node), host_keys.console_output(ec2nodes.target, node)
    daemon = ec2nodes.run(node, f"echo kept > note; {DAEMON}").stdout.strip()
    stopped = ec2nodes.ec2.stop_instances(InstanceIds=[node])["StoppingInstances"][0]
    assert stopped["CurrentState"]["Name"] == "stopping"
    ec2nodes.until(node, "stopped")
    assert not alive(daemon)
    assert "PublicIpAddress" not in ec2nodes.describe(node)
    started = ec2nodes.ec2.start_instances(InstanceIds=[node])["StartingInstances"][0]
    assert started["CurrentState"]["Name"] == "pending"
    ec2nodes.until(node, "running")
    after = ec2nodes.describe(node)
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert after["PublicIpAddress"] not in (before["PublicIpAddress"], before["PrivateIpAddress"])
    with ec2nodes.client(node) as client:
        assert client.exec_command("cat note")[1].read() == b"kept\n"
    keys = host_keys.parse_console(host_keys.console_output(ec2nodes.target, node))
    assert keys == host_keys.parse_console(console)
    assert len(keys[0]) == 2


def test_reboot_kills_processes_and_keeps_files_and_address(ec2nodes: Ec2Nodes) -> None:
    node = ec2nodes.launch()
    address = ec2nodes.address(node)
    daemon = ec2nodes.run(node, f"echo kept > note; {DAEMON}").stdout.strip()
    ec2nodes.ec2.reboot_instances(InstanceIds=[node])
    assert gone(daemon)
    assert ec2nodes.address(node) == address
    assert ec2nodes.run(node, "cat note", "-o", "ConnectionAttempts=5").stdout == "kept\n"


def test_user_data_runs_on_first_boot_and_prints_to_console(
    ec2nodes: Ec2Nodes, until: Await
) -> None:
    script = "#!/bin/bash\necho boot >> $HOME/boots; echo printed to the console; exit 3\n"
    node = ec2nodes.launch(UserData=script)
    exit_message = "ended with exit code 3"
    until(lambda: exit_message in host_keys.console_output(ec2nodes.target, node), True)
    assert "printed to the console" in host_keys.console_output(ec2nodes.target, node)
    ec2nodes.ec2.stop_instances(InstanceIds=[node])
    ec2nodes.until(node, "stopped")
    ec2nodes.ec2.start_instances(InstanceIds=[node])
    ec2nodes.until(node, "running")
    assert ec2nodes.run(node, "cat boots").stdout == "boot\n"


def test_user_data_that_is_not_a_script_is_not_run(ec2nodes: Ec2Nodes) -> None:
    node = ec2nodes.launch(UserData="#cloud-config\npackages: [git]\n")
    assert "not run" in host_keys.console_output(ec2nodes.target, node)
    attribute = ec2nodes.ec2.describe_instance_attribute(InstanceId=node, Attribute="userData")
    assert base64.b64decode(attribute["UserData"]["Value"]).startswith(b"#cloud-config")


def test_state_changes_in_wrong_state_fail_as_on_ec2(ec2nodes: Ec2Nodes) -> None:
    market = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}
    node = ec2nodes.launch(InstanceMarketOptions=market)
    with pytest.raises(ClientError, match="one-time Spot Instance request"):
        ec2nodes.ec2.stop_instances(InstanceIds=[node])
    running = ec2nodes.ec2.start_instances(InstanceIds=[node])["StartingInstances"][0]
    assert running["PreviousState"]["Name"] == "running"
    assert ec2nodes.describe(node)["State"]["Name"] == "running"
    ec2nodes.ec2.terminate_instances(InstanceIds=[node])
    for change in ("start", "stop", "reboot"):
        with pytest.raises(ClientError, match="IncorrectInstanceState"):
            getattr(ec2nodes.ec2, f"{change}_instances")(InstanceIds=[node])
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        ec2nodes.ec2.stop_instances(InstanceIds=["i-0123456789abcdef0"])


def test_stop_persistent_spot_instance_succeeds(ec2nodes: Ec2Nodes) -> None:
    options = {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}
    market = {"MarketType": "spot", "SpotOptions": options}
    node = ec2nodes.launch(InstanceMarketOptions=market)
    ec2nodes.ec2.stop_instances(InstanceIds=[node])
    ec2nodes.until(node, "stopped")


def test_terminate_pending_instances_succeeds(ec2nodes: Ec2Nodes) -> None:
    instances = ec2nodes.ec2.run_instances(ImageId="ami-1", MinCount=2, MaxCount=2)["Instances"]
    ids = [one["InstanceId"] for one in instances]
    assert [one["State"]["Name"] for one in instances] == ["pending"] * 2
    ec2nodes.ec2.terminate_instances(InstanceIds=ids)
    for one in ids:
        ec2nodes.until(one, "terminated")


def test_instance_without_public_ip_has_private_address_only(ec2nodes: Ec2Nodes) -> None:
    subnet = ec2nodes.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    interface = {"DeviceIndex": 0, "SubnetId": subnet, "AssociatePublicIpAddress": False}
    node = ec2nodes.launch(NetworkInterfaces=[interface])
    instance = ec2nodes.describe(node)
    assert "PublicIpAddress" not in instance
    assert not instance.get("PublicDnsName")
    assert instance["PrivateIpAddress"].startswith("127.")


def test_instance_can_terminate_itself(ec2nodes: Ec2Nodes) -> None:
    node = ec2nodes.launch()
    code = f"import boto3; boto3.client('ec2').terminate_instances(InstanceIds=['{node}'])"
    ec2nodes.run(node, f'setsid python3 -c "{code}" >/dev/null 2>&1 </dev/null &')
    ec2nodes.until(node, "terminated")


@pytest.mark.parametrize(
    ("behavior", "command", "state"),
    [
        ("stop", "sudo shutdown -h now", "stopped"),
        ("terminate", "sudo poweroff", "terminated"),
    ],
)
def test_shutdown_command_stops_or_terminates_instance(
    ec2nodes: Ec2Nodes, behavior: str, command: str, state: str
) -> None:
    node = ec2nodes.launch(InstanceInitiatedShutdownBehavior=behavior)
    late = ec2nodes.run(node, "sudo shutdown -h +30")
    assert (late.returncode, "supports only 'now'" in late.stderr) == (1, True)
    ec2nodes.run(node, command)
    ec2nodes.until(node, state)


def test_unavailable_program_fails_with_127(ec2nodes: Ec2Nodes) -> None:
    done = ec2nodes.run(ec2nodes.launch(), "sudo dnf install git")
    assert done.returncode == 127
    assert "'dnf' is not available on the local EC2" in done.stderr


def test_status_page_lists_instances(ec2nodes: Ec2Nodes) -> None:
    tags = [{"Key": "Name", "Value": "pets-main-worker-1"}]
    node = ec2nodes.launch(TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])
    target = ec2nodes.target
    instances = target.fetch(f"{target.endpoint}/emrctl/status")["instances"]
    [instance] = [one for one in instances if one["id"] == node]
    assert instance["name"] == "pets-main-worker-1"
    assert (instance["state"], instance["address"]) == ("running", ec2nodes.address(node))
    assert Path(instance["folder"], "home").is_dir()


# -- in this process


def test_nodes_of_emr_clusters_are_not_managed(
    mocked: Target,
    runtime: FakeRuntime,
    context: EmulatorContext,
    request_body: dict[str, Any],
    until: Await,
) -> None:
    with ec2.install(InstanceManager(context, 2222), Faults()) as manager:
        emr = mocked.client("emr")
        cluster = emr.run_job_flow(**request_body)["JobFlowId"]
        until(
            lambda: emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"],
            "WAITING",
        )
        assert manager.instances == {}
    assert len(mocked.client("ec2").describe_instances()["Reservations"]) == 2


def test_boot_failure_terminates_instance_with_reason(
    mocked: Target, context: EmulatorContext, monkeypatch: pytest.MonkeyPatch, until: Await
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("emrctl.emulator.cluster.node_folder.create", fail)
    client = mocked.client("ec2")
    with ec2.install(InstanceManager(context, 2222), Faults()):
        response = client.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
        ids = [response["Instances"][0]["InstanceId"]]

        def describe() -> Any:
            response = client.describe_instances(InstanceIds=ids)
            return response["Reservations"][0]["Instances"][0]

        until(lambda: describe()["State"]["Name"], "terminated")
        assert "No space left on device" in describe()["StateReason"]["Message"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"MinCount": 0, "MaxCount": 1}, r"InvalidParameterValue\).* \(0\) for parameter minCount"),
        ({"MinCount": -1, "MaxCount": -1}, r"InvalidParameterValue\).* \(-1\) .* minCount"),
        ({"MinCount": 2, "MaxCount": 1}, r"InvalidParameterValue\).* \(1\) .* maxCount"),
        ({"MinCount": 10**9, "MaxCount": 10**9}, "InstanceLimitExceeded"),
        (
            {"MinCount": 1, "MaxCount": 1, "InstanceType": "../../x"},
            r"'\.\./\.\./x' for InstanceType",
        ),
    ],
)
def test_run_instances_rejects_counts_and_types_that_ec2_rejects(
    mocked: Target, context: EmulatorContext, asked: dict[str, Any], message: str
) -> None:
    client = mocked.client("ec2")
    with (
        ec2.install(InstanceManager(context, 2222), Faults()),
        pytest.raises(ClientError, match=message),
    ):
        client.run_instances(ImageId="ami-1", **asked)
    assert client.describe_instances()["Reservations"] == []


def test_run_instances_without_free_address_fails(
    mocked: Target, context: EmulatorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emrctl.ports.free", lambda *_: None)
    client = mocked.client("ec2")
    with (
        ec2.install(InstanceManager(context, 2222), Faults()),
        pytest.raises(ClientError, match="no loopback address"),
    ):
        client.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
    assert client.describe_instances()["Reservations"] == []


# -- addresses


def test_loopback_address_is_unique_and_outside_127_0() -> None:
    addresses: set[str] = set()
    for _ in range(50):
        addresses.add(instance_manager.loopback_address(2222, frozenset(addresses)))
    assert len(addresses) == 50
    assert all(ipaddress.ip_address(one).is_loopback for one in addresses)
    assert not any(one.startswith("127.0.") for one in addresses)


def test_loopback_address_skips_address_with_port_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([0, 7, 8, 0, 7, 9])
    monkeypatch.setattr("secrets.randbelow", lambda _: next(numbers))
    with socket.create_server(("127.64.7.9", 0)) as other:
        port = other.getsockname()[1]
        assert instance_manager.loopback_address(port, frozenset()) == "127.64.7.10"


def test_loopback_address_without_free_address_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "free", lambda *_: None)
    with pytest.raises(EmrctlError, match="no loopback address") as caught:
        instance_manager.loopback_address(2222, frozenset())
    assert "Linux" in caught.value.hint
    with pytest.raises(EmrctlError, match="no port"):
        instance_manager.ssh_port()


def test_ssh_port_in_use_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104 - all addresses on purpose
        monkeypatch.setattr(instance_manager, "SSH_PORT", other.getsockname()[1])
        assert instance_manager.ssh_port() not in (0, other.getsockname()[1])
