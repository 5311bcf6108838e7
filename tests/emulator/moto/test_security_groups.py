"""SSH access by security groups."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.conftest import Await
from tests.emulator.ec2nodes import Ec2Nodes


@pytest.fixture
def group(ec2nodes: Ec2Nodes, request: pytest.FixtureRequest) -> str:
    made = ec2nodes.ec2.create_security_group(GroupName=request.node.name, Description="test")
    return str(made["GroupId"])


def rule(cidr: str, port: int = 22, protocol: str = "tcp") -> list[dict[str, Any]]:
    ports = {} if protocol == "-1" else {"FromPort": port, "ToPort": port}
    return [{"IpProtocol": protocol, "IpRanges": [{"CidrIp": cidr}], **ports}]


def answers(ec2nodes: Ec2Nodes, node: str) -> bool:
    return ec2nodes.run(node, "true").returncode == 0


@pytest.mark.parametrize(
    ("rules", "open_"),
    [
        ([], False),
        (rule("127.0.0.1/32"), True),
        (rule("0.0.0.0/0"), True),
        (rule("0.0.0.0/0", protocol="-1"), True),
        (rule("203.0.113.7/32"), False),
        (rule("0.0.0.0/0", port=2222), False),
        (rule("0.0.0.0/0", protocol="udp"), False),
    ],
)
def test_ssh_without_rule_is_refused(
    ec2nodes: Ec2Nodes, group: str, rules: list[dict[str, Any]], open_: bool
) -> None:
    if rules:
        ec2nodes.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules)
    node = ec2nodes.launch(SecurityGroupIds=[group])
    assert answers(ec2nodes, node) == open_


def test_rule_changes_apply_at_once(ec2nodes: Ec2Nodes, group: str, until: Await) -> None:
    card = {"DeviceIndex": 0, "Groups": [group], "AssociatePublicIpAddress": True}
    card["SubnetId"] = ec2nodes.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    node = ec2nodes.launch(NetworkInterfaces=[card])
    done = ec2nodes.run(node, "true")
    assert done.returncode == 255
    assert "refused" in done.stderr
    way_in = {"GroupId": group, "IpPermissions": rule("127.0.0.1/32")}
    ec2nodes.ec2.authorize_security_group_ingress(**way_in)
    until(lambda: answers(ec2nodes, node), True)
    with ec2nodes.client(node) as client:
        ec2nodes.ec2.revoke_security_group_ingress(**way_in)
        until(lambda: answers(ec2nodes, node), False)
        assert client.exec_command("echo still in")[1].read() == b"still in\n"
