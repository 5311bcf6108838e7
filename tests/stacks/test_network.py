"""The VPC, subnets, routes, endpoints and security groups of a cluster."""

from __future__ import annotations

import pytest

from emrctl.errors import SpecError
from tests.stacks.conftest import PETS, Evaluate, Resources, pets

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


def test_ingress_rules_allow_only_cluster_nodes(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    rules = resources.of("SecurityGroupIngressRule")
    assert len(rules) == 4
    for rule in rules:
        assert rule.inputs["referencedSecurityGroupId"] in {"id-primary", "id-core"}
        assert not {"cidrIpv4", "cidrIpv6"} & set(rule.inputs)


def test_security_group_rules_have_descriptions_and_are_revoked_on_delete(
    cluster: Evaluate,
) -> None:
    resources = cluster(PETS)
    rules = [*resources.of("SecurityGroupIngressRule"), *resources.of("SecurityGroupEgressRule")]
    assert all(rule.inputs["description"] for rule in rules)
    groups = resources.of("SecurityGroup")
    assert len(groups) == 2
    assert all(group.inputs["revokeRulesOnDelete"] for group in groups)
    attributes = resources["cluster"].inputs["ec2Attributes"]
    assert attributes["emrManagedMasterSecurityGroup"] == "id-primary"
    assert attributes["emrManagedSlaveSecurityGroup"] == "id-core"


def test_private_network_has_service_access_group(cluster: Evaluate) -> None:
    resources = cluster(pets(**PRIVATE))
    attributes = resources["cluster"].inputs["ec2Attributes"]
    assert attributes["serviceAccessSecurityGroup"] == "id-service-access"
    ingress = resources["service-access-from-primary"].inputs
    assert (ingress["fromPort"], ingress["referencedSecurityGroupId"]) == (9443, "id-primary")
    for role in ("primary", "core"):
        rule = resources[f"{role}-from-service-access"].inputs
        assert (rule["fromPort"], rule["toPort"], rule["ipProtocol"]) == (8443, 8443, "tcp")
        assert resources[f"service-access-to-{role}"].inputs["fromPort"] == 8443
    assert all(item.inputs["revokeRulesOnDelete"] for item in resources.of("SecurityGroup"))


def test_private_network_egress_is_limited(cluster: Evaluate) -> None:
    rules = cluster(pets(**PRIVATE)).of("SecurityGroupEgressRule")
    named = {"referencedSecurityGroupId", "prefixListId"}
    declared = [item for item in rules if "s3" not in item.name]
    assert all(named & set(item.inputs) for item in declared)
    assert not any("cidrIpv4" in item.inputs for item in rules)
