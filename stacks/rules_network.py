"""Rules of the network and its security groups."""

from __future__ import annotations

from collections.abc import Iterator

from stacks.rules import ANYWHERE, Resource, Resources, rule

_INGRESS, _EGRESS = "SecurityGroupIngressRule", "SecurityGroupEgressRule"


def _open(item: Resource) -> bool:
    return any(item.inputs.get(key) in ANYWHERE for key in ("cidrIpv4", "cidrIpv6"))


def _reaches(item: Resource, port: int) -> bool:
    inputs = item.inputs
    if inputs.get("ipProtocol") == "-1":
        return True
    return bool(inputs.get("fromPort", 0) <= port <= inputs.get("toPort", -1))


def _open_to(found: Resources, port: int) -> Iterator[str]:
    for item in found.of(_INGRESS):
        if _open(item) and _reaches(item, port):
            yield f"{item.name} lets the world in"


@rule("every rule says what it is for", "CKV_AWS_23")
def _described(found: Resources) -> Iterator[str]:
    for kind in ("SecurityGroup", _INGRESS, _EGRESS):
        yield from (item.name for item in found.of(kind) if not item.inputs.get("description"))


@rule("port 22 is closed to the world", "CKV_AWS_24", "EC2.13", "EC2.19")
def _ssh(found: Resources) -> Iterator[str]:
    yield from _open_to(found, 22)


@rule("port 3389 is closed to the world", "CKV_AWS_25", "EC2.14")
def _desktop(found: Resources) -> Iterator[str]:
    yield from _open_to(found, 3389)


@rule("port 80 is closed to the world", "CKV_AWS_260")
def _http(found: Resources) -> Iterator[str]:
    yield from _open_to(found, 80)


@rule("no port at all is open to the world", "CKV_AWS_277", "EC2.18")
def _nothing_open(found: Resources) -> Iterator[str]:
    yield from (f"{item.name} lets the world in" for item in found.of(_INGRESS) if _open(item))


@rule("what goes out is named", "CKV_AWS_382")
def _named_out(found: Resources) -> Iterator[str]:
    for item in found.of(_EGRESS):
        if _open(item) and item.inputs.get("ipProtocol") == "-1":
            yield f"{item.name} lets everything out"


@rule("subnets give no public addresses", "CKV_AWS_130", "EC2.15", "EC2.9", "EMR.1")
def _no_addresses(found: Resources) -> Iterator[str]:
    for item in found.of("Subnet"):
        if item.inputs.get("mapPublicIpOnLaunch"):
            yield f"{item.name} does"


@rule("the VPC's default group has no rules", "CKV2_AWS_12", "EC2.2")
def _default_group(found: Resources) -> Iterator[str]:
    closed = found.of("DefaultSecurityGroup")
    if any(item.inputs.get(key) for item in closed for key in ("ingress", "egress")):
        yield "it has"
    if found.of("Vpc") and not closed:
        yield "it is left as AWS makes it"


@rule("the VPC's traffic is logged", "EC2.6", "CKV2_AWS_11")
def _flow_logs(found: Resources) -> Iterator[str]:
    if found.of("Vpc") and not found.of("FlowLog"):
        yield "there is no flow log"


@rule("EC2's API is reached by an endpoint", "EC2.10")
def _endpoint(found: Resources) -> Iterator[str]:
    services = {str(item.inputs.get("serviceName")) for item in found.of("VpcEndpoint")}
    if found.of("Vpc") and not any(name.endswith(".ec2") for name in services):
        yield "there is none"


@rule("every group is attached to something", "CKV2_AWS_5")
def _attached(found: Resources) -> Iterator[str]:
    place = found.inputs("Cluster").get("ec2Attributes", {})
    used = {value for value in place.values() if isinstance(value, str)}
    for item in found.of("Instance"):
        used |= set(item.inputs.get("vpcSecurityGroupIds") or ())
    for item in found.of("VpcEndpoint"):
        used |= set(item.inputs.get("securityGroupIds") or ())
    for item in found.of("SecurityGroup"):
        if f"id-{item.name}" not in used:
            yield item.name
