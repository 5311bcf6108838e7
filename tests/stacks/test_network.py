"""The VPC, subnets, routes and endpoints of a cluster."""

from __future__ import annotations

import pytest

from emrctl.errors import SpecError
from tests.stacks.conftest import Evaluate, Resources, pets

PRIVATE = {"network": {"private": True}}


def _endpoints(resources: Resources) -> dict[str, str]:
    return {
        item.inputs["serviceName"].rpartition(".")[2]: item.inputs["vpcEndpointType"]
        for item in resources.of("VpcEndpoint")
    }


def test_private_network_has_no_internet_route_and_uses_endpoints(cluster: Evaluate) -> None:
    resources = cluster(pets(**PRIVATE, roles={"ssm": True}))
    assert resources.of("InternetGateway") == []
    assert resources.of("Route") == []
    assert resources["subnet"].inputs["mapPublicIpOnLaunch"] is False
    assert _endpoints(resources) == {
        "s3": "Gateway",
        **dict.fromkeys(("elasticmapreduce", "sts"), "Interface"),
        **dict.fromkeys(("ssm", "ssmmessages", "ec2messages"), "Interface"),
    }
    for item in resources.of("VpcEndpoint"):
        if item.inputs["vpcEndpointType"] == "Interface":
            assert item.inputs["privateDnsEnabled"]
            assert item.inputs["securityGroupIds"] == ["id-endpoints"]
    dependencies = {urn.rpartition("::")[2] for urn in resources["cluster"].dependencies}
    assert {"endpoint-sts", "endpoint-ssm"} <= dependencies


def test_nat_gateway_routes_private_subnet(cluster: Evaluate) -> None:
    resources = cluster(pets(network={"private": True, "nat": True}))
    assert resources["default-route"].inputs["natGatewayId"] == "id-nat"
    assert resources["public-default-route"].inputs["gatewayId"] == "id-gateway"
    assert resources["nat"].inputs["subnetId"] == "id-public-subnet"
    blocks = {resources[name].inputs["cidrBlock"] for name in ("subnet", "public-subnet")}
    assert blocks == {"10.42.0.0/20", "10.42.16.0/20"}
    with pytest.raises(SpecError, match="no room for a second subnet"):
        cluster(pets(network={"private": True, "nat": True, "cidr": "10.0.0.0/20"}))


def test_existing_subnets_are_used_unchanged(cluster: Evaluate) -> None:
    network = {"subnets": ["subnet-1"], "vpc": "vpc-1"}
    resources = cluster(pets(network=network))
    assert {item.type.rpartition(":")[2] for item in resources.values()} & {
        "Vpc",
        "Subnet",
    } == set()
    assert resources["cluster"].inputs["ec2Attributes"]["subnetId"] == "subnet-1"
    assert {item.inputs["vpcId"] for item in resources.of("SecurityGroup")} == {"vpc-1"}
    assert (resources.outputs["vpc_id"], resources.outputs["subnet_id"]) == ("vpc-1", "subnet-1")
    private = cluster(pets(network={**network, "private": True}))
    assert "service-access" in private
    assert private.of("VpcEndpoint") == []


def test_unresolved_subnet_tags_are_rejected(cluster: Evaluate) -> None:
    with pytest.raises(SpecError, match="their tags are not resolved"):
        cluster(pets(network={"subnets": {"tier": "data"}}))


def test_network_with_invalid_cidr_is_rejected(cluster: Evaluate) -> None:
    with pytest.raises(SpecError, match=r"'10\.0\.0\.1/16' is not a CIDR range"):
        cluster(pets(network={"cidr": "10.0.0.1/16"}))
