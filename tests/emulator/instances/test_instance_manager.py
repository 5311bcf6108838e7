"""An EC2 instance's life on the emulator: what starts, what stays, what ends."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.instances.instance_manager import InstanceManager
from emrctl.emulator.moto import ec2
from emrctl.remote import host_keys
from tests.emulator.conftest import Await
from tests.emulator.ec2nodes import Ec2Nodes, alive, gone
from tests.emulator.fake_runtime import FakeRuntime

DAEMON = "setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $!"


def test_an_instance_from_its_launch_to_its_end(ec2nodes: Ec2Nodes) -> None:
    node = ec2nodes.launch()
    found = ec2nodes.described(node)
    assert found["PublicIpAddress"] != found["PrivateIpAddress"]
    assert found["PublicDnsName"] == found["PublicIpAddress"]
    assert found["PrivateDnsName"] == found["PrivateIpAddress"]
    card = found["NetworkInterfaces"][0]
    assert card["PrivateIpAddress"] == found["PrivateIpAddress"]
    assert card["Association"]["PublicIp"] == found["PublicIpAddress"]
    home, daemon = ec2nodes.run(node, f"pwd; {DAEMON}").stdout.split()
    assert alive(daemon)
    ec2nodes.ec2.terminate_instances(InstanceIds=[node])
    ec2nodes.until(node, "terminated")
    assert not alive(daemon)
    assert not Path(home).exists()
    again = ec2nodes.ec2.terminate_instances(InstanceIds=[node])["TerminatingInstances"][0]
    assert again["PreviousState"]["Name"] == "terminated"


def test_stop_ends_programs_and_keeps_files_and_start_gives_another_address(
    ec2nodes: Ec2Nodes,
) -> None:
    node = ec2nodes.launch()
    before, console = ec2nodes.described(node), host_keys.console_output(ec2nodes.target, node)
    daemon = ec2nodes.run(node, f"echo kept > note; {DAEMON}").stdout.strip()
    stopped = ec2nodes.ec2.stop_instances(InstanceIds=[node])["StoppingInstances"][0]
    assert stopped["CurrentState"]["Name"] == "stopping"
    ec2nodes.until(node, "stopped")
    assert not alive(daemon)
    assert "PublicIpAddress" not in ec2nodes.described(node)
    started = ec2nodes.ec2.start_instances(InstanceIds=[node])["StartingInstances"][0]
    assert started["CurrentState"]["Name"] == "pending"
    ec2nodes.until(node, "running")
    after = ec2nodes.described(node)
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert after["PublicIpAddress"] not in (before["PublicIpAddress"], before["PrivateIpAddress"])
    with ec2nodes.client(node) as client:
        assert client.exec_command("cat note")[1].read() == b"kept\n"
    told = host_keys.parse_console(host_keys.console_output(ec2nodes.target, node))
    assert told == host_keys.parse_console(console)
    assert len(told[0]) == 2


def test_a_reboot_ends_what_ran_and_nothing_else(ec2nodes: Ec2Nodes) -> None:
    node = ec2nodes.launch()
    address = ec2nodes.address(node)
    daemon = ec2nodes.run(node, f"echo kept > note; {DAEMON}").stdout.strip()
    ec2nodes.ec2.reboot_instances(InstanceIds=[node])
    assert gone(daemon)
    assert ec2nodes.address(node) == address
    assert ec2nodes.run(node, "cat note", "-o", "ConnectionAttempts=5").stdout == "kept\n"


def test_user_data_runs_once_and_its_output_is_on_the_console(
    ec2nodes: Ec2Nodes, until: Await
) -> None:
    script = "#!/bin/bash\necho boot >> $HOME/boots; echo told the console; exit 3\n"
    node = ec2nodes.launch(UserData=script)
    said = "ended with exit code 3"
    until(lambda: said in host_keys.console_output(ec2nodes.target, node), True)
    assert "told the console" in host_keys.console_output(ec2nodes.target, node)
    ec2nodes.ec2.stop_instances(InstanceIds=[node])
    ec2nodes.until(node, "stopped")
    ec2nodes.ec2.start_instances(InstanceIds=[node])
    ec2nodes.until(node, "running")
    assert ec2nodes.run(node, "cat boots").stdout == "boot\n"


def test_user_data_that_is_no_script_is_only_told_of(ec2nodes: Ec2Nodes) -> None:
    node = ec2nodes.launch(UserData="#cloud-config\npackages: [git]\n")
    assert "not run" in host_keys.console_output(ec2nodes.target, node)
    kept = ec2nodes.ec2.describe_instance_attribute(InstanceId=node, Attribute="userData")
    assert base64.b64decode(kept["UserData"]["Value"]).startswith(b"#cloud-config")


def test_what_cannot_be_is_refused_as_ec2_refuses_it(ec2nodes: Ec2Nodes) -> None:
    market = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}
    node = ec2nodes.launch(InstanceMarketOptions=market)
    with pytest.raises(ClientError, match="one-time Spot Instance request"):
        ec2nodes.ec2.stop_instances(InstanceIds=[node])
    running = ec2nodes.ec2.start_instances(InstanceIds=[node])["StartingInstances"][0]
    assert running["PreviousState"]["Name"] == "running"
    assert ec2nodes.described(node)["State"]["Name"] == "running"
    ec2nodes.ec2.terminate_instances(InstanceIds=[node])
    for change in ("start", "stop", "reboot"):
        with pytest.raises(ClientError, match="IncorrectInstanceState"):
            getattr(ec2nodes.ec2, f"{change}_instances")(InstanceIds=[node])
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        ec2nodes.ec2.stop_instances(InstanceIds=["i-0123456789abcdef0"])


def test_a_lasting_spot_instance_can_be_stopped(ec2nodes: Ec2Nodes) -> None:
    options = {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}
    market = {"MarketType": "spot", "SpotOptions": options}
    node = ec2nodes.launch(InstanceMarketOptions=market)
    ec2nodes.ec2.stop_instances(InstanceIds=[node])
    ec2nodes.until(node, "stopped")


def test_an_instance_that_is_stopped_before_it_runs_cannot_be(ec2nodes: Ec2Nodes) -> None:
    made = ec2nodes.ec2.run_instances(ImageId="ami-1", MinCount=2, MaxCount=2)["Instances"]
    ids = [one["InstanceId"] for one in made]
    assert [one["State"]["Name"] for one in made] == ["pending"] * 2
    ec2nodes.ec2.terminate_instances(InstanceIds=ids)
    for one in ids:
        ec2nodes.until(one, "terminated")


def test_a_private_instance_has_no_public_address(ec2nodes: Ec2Nodes) -> None:
    subnet = ec2nodes.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    card = {"DeviceIndex": 0, "SubnetId": subnet, "AssociatePublicIpAddress": False}
    node = ec2nodes.launch(NetworkInterfaces=[card])
    found = ec2nodes.described(node)
    assert "PublicIpAddress" not in found
    assert not found.get("PublicDnsName")
    assert found["PrivateIpAddress"].startswith("127.")


def test_a_node_may_end_itself(ec2nodes: Ec2Nodes) -> None:
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
def test_a_node_that_is_shut_down_from_within(
    ec2nodes: Ec2Nodes, behavior: str, command: str, state: str
) -> None:
    node = ec2nodes.launch(InstanceInitiatedShutdownBehavior=behavior)
    late = ec2nodes.run(node, "sudo shutdown -h +30")
    assert (late.returncode, "only 'now' is known" in late.stderr) == (1, True)
    ec2nodes.run(node, command)
    ec2nodes.until(node, state)


def test_what_a_node_has_not_got_says_so(ec2nodes: Ec2Nodes) -> None:
    done = ec2nodes.run(ec2nodes.launch(), "sudo dnf install git")
    assert done.returncode == 127
    assert "'dnf' is not available on the local EC2" in done.stderr


def test_the_emulator_tells_of_its_instances(ec2nodes: Ec2Nodes) -> None:
    tags = [{"Key": "Name", "Value": "pets-main-worker-1"}]
    node = ec2nodes.launch(TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])
    target = ec2nodes.target
    told = target.fetch(f"{target.endpoint}/emrctl/status")["instances"]
    [found] = [one for one in told if one["id"] == node]
    assert found["name"] == "pets-main-worker-1"
    assert (found["state"], found["address"]) == ("running", ec2nodes.address(node))
    assert Path(found["folder"], "home").is_dir()


# -- in this process


@pytest.fixture
def place(tmp_path: Path) -> EmulatorContext:
    return EmulatorContext(
        home=tmp_path,
        emulator_id=f"test-{tmp_path.name}",
        endpoint="http://127.0.0.1:9",
        credentials=tmp_path / "credentials",
    )


def test_nodes_of_emr_s_clusters_are_emr_s_to_run(
    mocked: Target,
    runtime: FakeRuntime,
    place: EmulatorContext,
    request_body: dict[str, Any],
    until: Await,
) -> None:
    with ec2.install(InstanceManager(place, 2222)) as found:
        emr = mocked.client("emr")
        cluster = emr.run_job_flow(**request_body)["JobFlowId"]
        until(
            lambda: emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"],
            "WAITING",
        )
        assert found.kept == {}
    assert len(mocked.client("ec2").describe_instances()["Reservations"]) == 2


def test_an_instance_that_cannot_boot_ends_and_says_why(
    mocked: Target, place: EmulatorContext, monkeypatch: pytest.MonkeyPatch, until: Await
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("emrctl.emulator.cluster.node_folder.furnish", broken)
    client = mocked.client("ec2")
    with ec2.install(InstanceManager(place, 2222)):
        made = client.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)["Instances"][0]
        ids = [made["InstanceId"]]

        def described() -> Any:
            answer = client.describe_instances(InstanceIds=ids)
            return answer["Reservations"][0]["Instances"][0]

        until(lambda: described()["State"]["Name"], "terminated")
        assert "No space left on device" in described()["StateReason"]["Message"]


def test_a_machine_without_addresses_is_told_at_once(
    mocked: Target, place: EmulatorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emrctl.ports.free", lambda *_: None)
    client = mocked.client("ec2")
    with (
        ec2.install(InstanceManager(place, 2222)),
        pytest.raises(ClientError, match="no loopback address"),
    ):
        client.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
    assert client.describe_instances()["Reservations"] == []
