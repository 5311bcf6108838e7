"""The security groups of an EMR cluster and their rules."""

from __future__ import annotations

from tests.stacks.conftest import PETS, Evaluate, pets

PRIVATE = {"network": {"private": True}}


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
