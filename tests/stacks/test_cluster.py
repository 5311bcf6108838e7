"""The cluster stack of EMR: defaults, security groups and permissions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from emrctl.errors import SpecError
from emrctl.spec import ProjectSpec
from tests.stacks.conftest import Evaluate, Resources

PETS = ProjectSpec(project="pets")
MANAGED = "for-use-with-amazon-emr-managed-policies"


def _with(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": cluster})


def _statements(resources: Resources) -> Iterator[dict[str, Any]]:
    for item in resources.of("RolePolicy"):
        yield from json.loads(item.inputs["policy"])["Statement"]


def test_cluster_nodes_match_spec(cluster: Evaluate) -> None:
    spec = _with(core={"type": "r5.xlarge", "count": 7, "volume_gb": 128})
    inputs = cluster(spec)["cluster"].inputs
    assert inputs["masterInstanceGroup"]["instanceCount"] == 1
    core = inputs["coreInstanceGroup"]
    assert (core["instanceType"], core["instanceCount"]) == ("r5.xlarge", 7)
    assert core["ebsConfigs"] == [{"size": 128, "type": "gp3", "volumesPerInstance": 1}]


def test_cluster_ignores_changes_of_steps(cluster: Evaluate) -> None:
    declared = cluster(PETS)["cluster"]
    assert declared.ignore_changes == {"steps"}
    assert "steps" not in declared.inputs
    assert declared.delete_first


def test_cluster_stays_alive_without_steps_until_idle_timeout(cluster: Evaluate) -> None:
    inputs = cluster(_with(idle_timeout_s=600, step_concurrency=3))["cluster"].inputs
    assert inputs["keepJobFlowAliveWhenNoSteps"] is True
    assert inputs["autoTerminationPolicy"] == {"idleTimeout": 600}
    assert inputs["stepConcurrencyLevel"] == 3


def test_bootstrap_actions_use_staged_scripts(cluster: Evaluate) -> None:
    actions = [{"script": "python.sh", "args": ["boto3"]}, {"script": "mine.sh", "name": "last"}]
    first, second, _ = cluster(_with(bootstrap=actions))["cluster"].inputs["bootstrapActions"]
    assert first == {"name": "python", "path": "s3://pets/python.sh", "args": ["boto3"]}
    assert (second["name"], second["path"]) == ("last", "s3://pets/mine.sh")


def test_configurations_enable_event_logs_and_user_settings_win(cluster: Evaluate) -> None:
    user = {"classification": "spark-defaults", "properties": {"spark.eventLog.compress": False}}
    spec = _with(configurations=[user, {"classification": "yarn-site", "properties": {"a": 1}}])
    documents = json.loads(cluster(spec)["cluster"].inputs["configurationsJson"])
    assert [item["Classification"] for item in documents] == ["spark-defaults", "yarn-site"]
    properties = documents[0]["Properties"]
    assert properties["spark.eventLog.dir"] == "s3://pets/eventlogs/"
    assert properties["spark.eventLog.rolling.enabled"] == "true"
    assert properties["spark.eventLog.compression.codec"] == "zstd"
    assert properties["spark.eventLog.compress"] == "false"


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


def test_policies_have_no_wildcard_action_or_resource(cluster: Evaluate) -> None:
    for statement in _statements(cluster(PETS)):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action
        assert statement["Resource"] != "*"


def test_node_policy_allows_only_project_bucket(cluster: Evaluate) -> None:
    policy = json.loads(cluster(PETS)["node-data"].inputs["policy"])
    arns = [statement["Resource"] for statement in policy["Statement"]]
    assert arns[:2] == ["arn:aws:s3:::pets", "arn:aws:s3:::pets/*"]
    assert [item["Sid"] for item in policy["Statement"][2:]] == ["TerminateCluster"]


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("1234-abcd", "arn:aws:kms:eu-central-1:123456789012:key/1234-abcd"),
        ("arn:aws:kms:eu-central-1:9:key/k", "arn:aws:kms:eu-central-1:9:key/k"),
        ("alias/pets", "arn:aws:kms:eu-central-1:123456789012:key/*"),
    ],
)
def test_node_policy_allows_only_bucket_key(cluster: Evaluate, key: str, resource: str) -> None:
    spec = ProjectSpec.model_validate({"project": "pets", "storage": {"kms_key": key}})
    statement = json.loads(cluster(spec)["node-data"].inputs["policy"])["Statement"][-1]
    assert (statement["Sid"], statement["Resource"]) == ("Key", resource)
    if key.startswith("alias/"):  # an alias is not a resource
        aliases = statement["Condition"]["ForAnyValue:StringEquals"]
        assert aliases == {"kms:ResourceAliases": "alias/pets"}


def test_node_policy_allows_terminating_only_own_cluster(cluster: Evaluate) -> None:
    policy = json.loads(cluster(PETS)["node-data"].inputs["policy"])["Statement"]
    (statement,) = [item for item in policy if item["Sid"] == "TerminateCluster"]
    assert statement["Action"] == ["elasticmapreduce:TerminateJobFlows"]
    tag = {"aws:ResourceTag/emrctl:stack": "pets-main"}
    assert statement["Condition"] == {"StringEquals": tag}


def test_ttl_becomes_tag_and_bootstrap_action(cluster: Evaluate) -> None:
    inputs = cluster(_with(ttl_s=7200))["cluster"].inputs
    assert inputs["tags"]["emrctl:ttl-s"] == "7200"
    last = inputs["bootstrapActions"][-1]
    assert (last["name"], last["args"]) == ("ttl", ["7200", "us-east-1"])
    assert cluster(PETS)["cluster"].inputs["tags"]["emrctl:ttl-s"] == "14400"
    unlimited = cluster(_with(ttl_s=0))
    assert "emrctl:ttl-s" not in unlimited["cluster"].inputs["tags"]
    assert len(unlimited["cluster"].inputs["bootstrapActions"]) == 1
    assert "TerminateJobFlows" not in unlimited["node-data"].inputs["policy"]


def test_termination_protection_changes_no_other_property(cluster: Evaluate) -> None:
    plain, protected = (
        cluster(_with(termination_protection=on))["cluster"] for on in (False, True)
    )
    changed = {key for key in plain.inputs if plain.inputs[key] != protected.inputs[key]}
    assert changed == {"terminationProtection", "tags"}  # the spec's hash is a tag


def test_service_role_trusts_own_account_and_passes_only_node_role(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    trust = json.loads(resources["service-role"].inputs["assumeRolePolicy"])["Statement"][0]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    passing = json.loads(resources["pass-role"].inputs["policy"])["Statement"][0]
    assert (passing["Action"], passing["Resource"]) == ("iam:PassRole", "arn:node-role")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_instance_profile_has_name_of_its_role(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    assert resources["instance-profile"].inputs["name"] == resources["node-role"].inputs["name"]


def test_security_configuration_requires_imdsv2(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    document = json.loads(resources["security"].inputs["configuration"])
    metadata = document["InstanceMetadataServiceConfiguration"]
    assert metadata["MinimumInstanceMetadataServiceVersion"] == 2
    assert (
        resources["cluster"].inputs["securityConfiguration"] == resources["security"].inputs["name"]
    )


def test_resources_have_project_and_stack_tags(cluster: Evaluate) -> None:
    resources = cluster(_with(tags={"team": "vision", "emrctl:stack": "mine"}))
    untagged = {
        "RolePolicy",
        "RolePolicyAttachment",
        "Route",
        "RouteTableAssociation",
        "SecurityConfiguration",
    }
    for item in resources.values():
        if item.type.rpartition(":")[2] in untagged:
            continue
        tags = item.inputs["tags"]
        assert (tags["emrctl:project"], tags["emrctl:stack"]) == ("pets", "pets-main"), item.name
        assert (tags[MANAGED], tags["team"]) == ("true", "vision")


def test_spec_hash_tag_changes_with_spec(cluster: Evaluate) -> None:
    first, second = cluster(PETS), cluster(_with(core={"count": 9}))
    key = "emrctl:spec-hash"
    assert first["cluster"].inputs["tags"][key] != second["cluster"].inputs["tags"][key]


def test_cluster_depends_on_routes_rules_and_policies(cluster: Evaluate) -> None:
    resources = cluster(PETS)
    dependencies = {urn.rpartition("::")[2] for urn in resources["cluster"].dependencies}
    assert {"default-route", "subnet-routes", "s3", "pass-role", "node-data"} <= dependencies
    assert {"core-out", "service-policy", "instance-profile", "security"} <= dependencies


def test_cluster_outputs(cluster: Evaluate) -> None:
    assert cluster(PETS).outputs == {
        "bucket": "pets",
        "cluster_id": "id-cluster",
        "cluster_arn": "arn:cluster",
        "primary_dns": "primary.example",
        "log_uri": "s3://pets/logs/",
        "event_log_uri": "s3://pets/eventlogs/",
        "vpc_id": "id-vpc",
        "subnet_id": "id-subnet",
        "instance_profile": "pets-main-nodes",
    }


def test_network_with_invalid_cidr_is_rejected(cluster: Evaluate) -> None:
    with pytest.raises(SpecError, match=r"'10\.0\.0\.1/16' is not a CIDR range"):
        cluster(_with(network={"cidr": "10.0.0.1/16"}))
