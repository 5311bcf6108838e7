"""The cluster's stack: as the spec says, closed to the world, with no right it does not need."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emrctl.errors import SpecError
from emrctl.spec import ProjectSpec

Evaluate = Callable[[ProjectSpec], Any]
PETS = ProjectSpec(project="pets")
MANAGED = "for-use-with-amazon-emr-managed-policies"


def _with(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": cluster})


def _statements(found: Any) -> Iterator[dict[str, Any]]:
    for item in found.of("RolePolicy"):
        yield from json.loads(item.inputs["policy"])["Statement"]


def test_the_nodes_are_those_of_the_spec(cluster: Evaluate) -> None:
    spec = _with(core={"type": "r5.xlarge", "count": 7, "volume_gb": 128})
    inputs = cluster(spec)["cluster"].inputs
    assert inputs["masterInstanceGroup"]["instanceCount"] == 1
    core = inputs["coreInstanceGroup"]
    assert (core["instanceType"], core["instanceCount"]) == ("r5.xlarge", 7)
    assert core["ebsConfigs"] == [{"size": 128, "type": "gp3", "volumesPerInstance": 1}]


def test_steps_never_replace_the_cluster(cluster: Evaluate) -> None:
    found = cluster(PETS)["cluster"]
    assert found.ignore_changes == {"steps"}
    assert "steps" not in found.inputs
    assert found.delete_first


def test_it_lives_on_without_steps_and_ends_when_idle(cluster: Evaluate) -> None:
    inputs = cluster(_with(idle_timeout_s=600, step_concurrency=3))["cluster"].inputs
    assert inputs["keepJobFlowAliveWhenNoSteps"] is True
    assert inputs["autoTerminationPolicy"] == {"idleTimeout": 600}
    assert inputs["stepConcurrencyLevel"] == 3


def test_bootstrap_actions_come_from_where_they_were_staged(cluster: Evaluate) -> None:
    actions = [{"script": "python.sh", "args": ["boto3"]}, {"script": "mine.sh", "name": "last"}]
    found = cluster(_with(bootstrap=actions))["cluster"].inputs["bootstrapActions"]
    assert found[0] == {"name": "python", "path": "s3://pets/python.sh", "args": ["boto3"]}
    assert (found[1]["name"], found[1]["path"]) == ("last", "s3://pets/mine.sh")


def test_event_logs_go_to_the_bucket_and_the_user_has_the_last_word(cluster: Evaluate) -> None:
    mine = {"classification": "spark-defaults", "properties": {"spark.eventLog.compress": False}}
    spec = _with(configurations=[mine, {"classification": "yarn-site", "properties": {"a": 1}}])
    documents = json.loads(cluster(spec)["cluster"].inputs["configurationsJson"])
    assert [item["Classification"] for item in documents] == ["spark-defaults", "yarn-site"]
    properties = documents[0]["Properties"]
    assert properties["spark.eventLog.dir"] == "s3://pets/eventlogs/"
    assert properties["spark.eventLog.rolling.enabled"] == "true"
    assert properties["spark.eventLog.compression.codec"] == "zstd"
    assert properties["spark.eventLog.compress"] == "false"


def test_nobody_outside_reaches_a_node(cluster: Evaluate) -> None:
    found = cluster(PETS)
    rules = found.of("SecurityGroupIngressRule")
    assert len(rules) == 4
    for rule in rules:
        assert rule.inputs["referencedSecurityGroupId"] in {"id-primary", "id-core"}
        assert not {"cidrIpv4", "cidrIpv6"} & set(rule.inputs)


def test_every_rule_says_what_it_is_for_and_groups_can_be_torn_down(cluster: Evaluate) -> None:
    found = cluster(PETS)
    rules = [*found.of("SecurityGroupIngressRule"), *found.of("SecurityGroupEgressRule")]
    assert all(rule.inputs["description"] for rule in rules)
    groups = found.of("SecurityGroup")
    assert len(groups) == 2
    assert all(group.inputs["revokeRulesOnDelete"] for group in groups)
    attributes = found["cluster"].inputs["ec2Attributes"]
    assert attributes["emrManagedMasterSecurityGroup"] == "id-primary"
    assert attributes["emrManagedSlaveSecurityGroup"] == "id-core"


def test_no_policy_has_a_star_for_an_action_or_a_resource(cluster: Evaluate) -> None:
    for statement in _statements(cluster(PETS)):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action
        assert statement["Resource"] != "*"


def test_nodes_reach_their_project_s_bucket_alone(cluster: Evaluate) -> None:
    policy = json.loads(cluster(PETS)["node-data"].inputs["policy"])
    resources = [statement["Resource"] for statement in policy["Statement"]]
    assert resources[:2] == ["arn:aws:s3:::pets", "arn:aws:s3:::pets/*"]
    assert [item["Sid"] for item in policy["Statement"][2:]] == ["EndItself"]


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("1234-abcd", "arn:aws:kms:eu-central-1:123456789012:key/1234-abcd"),
        ("arn:aws:kms:eu-central-1:9:key/k", "arn:aws:kms:eu-central-1:9:key/k"),
        ("alias/pets", "arn:aws:kms:eu-central-1:123456789012:key/*"),
    ],
)
def test_nodes_use_the_bucket_s_key_alone(cluster: Evaluate, key: str, resource: str) -> None:
    spec = ProjectSpec.model_validate({"project": "pets", "storage": {"kms_key": key}})
    statement = json.loads(cluster(spec)["node-data"].inputs["policy"])["Statement"][-1]
    assert (statement["Sid"], statement["Resource"]) == ("Key", resource)
    if key.startswith("alias/"):  # which names no key: the condition does
        aliases = statement["Condition"]["ForAnyValue:StringEquals"]
        assert aliases == {"kms:ResourceAliases": "alias/pets"}


def test_the_primary_may_end_its_own_cluster_alone(cluster: Evaluate) -> None:
    policy = json.loads(cluster(PETS)["node-data"].inputs["policy"])["Statement"]
    (statement,) = [item for item in policy if item["Sid"] == "EndItself"]
    assert statement["Action"] == ["elasticmapreduce:TerminateJobFlows"]
    tag = {"aws:ResourceTag/emrctl:stack": "pets-main"}
    assert statement["Condition"] == {"StringEquals": tag}


def test_a_cluster_s_time_is_a_tag_and_a_bootstrap_action(cluster: Evaluate) -> None:
    inputs = cluster(_with(ttl_s=7200))["cluster"].inputs
    assert inputs["tags"]["emrctl:ttl-s"] == "7200"
    last = inputs["bootstrapActions"][-1]
    assert (last["name"], last["args"]) == ("ttl", ["7200", "us-east-1"])
    assert cluster(PETS)["cluster"].inputs["tags"]["emrctl:ttl-s"] == "14400"
    endless = cluster(_with(ttl_s=0))
    assert "emrctl:ttl-s" not in endless["cluster"].inputs["tags"]
    assert len(endless["cluster"].inputs["bootstrapActions"]) == 1
    assert "TerminateJobFlows" not in endless["node-data"].inputs["policy"]


def test_protection_is_no_reason_to_replace_a_cluster(cluster: Evaluate) -> None:
    plain, kept = (cluster(_with(termination_protection=on))["cluster"] for on in (False, True))
    differing = {key for key in plain.inputs if plain.inputs[key] != kept.inputs[key]}
    assert differing == {"terminationProtection", "tags"}  # the spec's hash is a tag


def test_emr_acts_for_this_account_and_passes_one_role_to_ec2(cluster: Evaluate) -> None:
    found = cluster(PETS)
    trust = json.loads(found["service-role"].inputs["assumeRolePolicy"])["Statement"][0]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    passing = json.loads(found["pass-role"].inputs["policy"])["Statement"][0]
    assert (passing["Action"], passing["Resource"]) == ("iam:PassRole", "arn:node-role")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_the_profile_has_its_role_s_name(cluster: Evaluate) -> None:
    found = cluster(PETS)
    assert found["instance-profile"].inputs["name"] == found["node-role"].inputs["name"]


def test_nodes_answer_the_metadata_service_s_second_version_alone(cluster: Evaluate) -> None:
    found = cluster(PETS)
    document = json.loads(found["security"].inputs["configuration"])
    metadata = document["InstanceMetadataServiceConfiguration"]
    assert metadata["MinimumInstanceMetadataServiceVersion"] == 2
    assert found["cluster"].inputs["securityConfiguration"] == found["security"].inputs["name"]


def test_everything_is_found_again_by_its_tags(cluster: Evaluate) -> None:
    found = cluster(_with(tags={"team": "vision", "emrctl:stack": "mine"}))
    untagged = {
        "RolePolicy",
        "RolePolicyAttachment",
        "Route",
        "RouteTableAssociation",
        "SecurityConfiguration",
    }
    for item in found.values():
        if item.type.rpartition(":")[2] in untagged:
            continue
        tags = item.inputs["tags"]
        assert (tags["emrctl:project"], tags["emrctl:stack"]) == ("pets", "pets-main"), item.name
        assert (tags[MANAGED], tags["team"]) == ("true", "vision")


def test_the_spec_s_hash_changes_with_the_spec(cluster: Evaluate) -> None:
    first, second = cluster(PETS), cluster(_with(core={"count": 9}))
    key = "emrctl:spec-hash"
    assert first["cluster"].inputs["tags"][key] != second["cluster"].inputs["tags"][key]


def test_the_cluster_waits_for_all_that_it_needs(cluster: Evaluate) -> None:
    found = cluster(PETS)
    needs = {urn.rpartition("::")[2] for urn in found["cluster"].dependencies}
    assert {"default-route", "subnet-routes", "s3", "pass-role", "node-data"} <= needs
    assert {"core-out", "service-policy", "instance-profile", "security"} <= needs


def test_outputs(cluster: Evaluate) -> None:
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
        "hourly_usd": 0.72,
    }


def test_a_range_that_is_none_is_told(cluster: Evaluate) -> None:
    with pytest.raises(SpecError, match=r"'10\.0\.0\.1/16' is no range"):
        cluster(_with(network={"cidr": "10.0.0.1/16"}))
