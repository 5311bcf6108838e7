"""The EMR cluster: its settings, tags, dependencies and outputs."""

from __future__ import annotations

import json

from tests.stacks.conftest import PETS, Evaluate, pets


def test_cluster_ignores_changes_of_steps(cluster: Evaluate) -> None:
    declared = cluster(PETS)["cluster"]
    assert declared.ignore_changes == {"steps"}
    assert "steps" not in declared.inputs
    assert declared.delete_first


def test_cluster_stays_alive_without_steps_until_idle_timeout(cluster: Evaluate) -> None:
    inputs = cluster(pets(idle_timeout_s=600, step_concurrency=3))["cluster"].inputs
    assert inputs["keepJobFlowAliveWhenNoSteps"] is True
    assert inputs["autoTerminationPolicy"] == {"idleTimeout": 600}
    assert inputs["stepConcurrencyLevel"] == 3


def test_bootstrap_actions_use_staged_scripts(cluster: Evaluate) -> None:
    actions = [{"script": "python.sh", "args": ["boto3"]}, {"script": "mine.sh", "name": "last"}]
    first, second, _ = cluster(pets(bootstrap=actions))["cluster"].inputs["bootstrapActions"]
    assert first == {"name": "python", "path": "s3://pets/python.sh", "args": ["boto3"]}
    assert (second["name"], second["path"]) == ("last", "s3://pets/mine.sh")


def test_configurations_enable_event_logs_and_user_settings_win(cluster: Evaluate) -> None:
    user = {"classification": "spark-defaults", "properties": {"spark.eventLog.compress": False}}
    spec = pets(configurations=[user, {"classification": "yarn-site", "properties": {"a": 1}}])
    documents = json.loads(cluster(spec)["cluster"].inputs["configurationsJson"])
    assert [item["Classification"] for item in documents] == ["spark-defaults", "yarn-site"]
    properties = documents[0]["Properties"]
    assert properties["spark.eventLog.dir"] == "s3://pets/eventlogs/"
    assert properties["spark.eventLog.rolling.enabled"] == "true"
    assert properties["spark.eventLog.compression.codec"] == "zstd"
    assert properties["spark.eventLog.compress"] == "false"


def test_ttl_becomes_tag_and_bootstrap_action(cluster: Evaluate) -> None:
    inputs = cluster(pets(ttl_s=7200))["cluster"].inputs
    assert inputs["tags"]["emrctl:ttl-s"] == "7200"
    last = inputs["bootstrapActions"][-1]
    assert (last["name"], last["args"]) == ("ttl", ["7200", "us-east-1"])
    assert cluster(PETS)["cluster"].inputs["tags"]["emrctl:ttl-s"] == "14400"
    unlimited = cluster(pets(ttl_s=0))
    assert "emrctl:ttl-s" not in unlimited["cluster"].inputs["tags"]
    assert len(unlimited["cluster"].inputs["bootstrapActions"]) == 1
    assert "TerminateJobFlows" not in unlimited["node-data"].inputs["policy"]


def test_termination_protection_changes_no_other_property(cluster: Evaluate) -> None:
    plain, protected = (cluster(pets(termination_protection=on))["cluster"] for on in (False, True))
    changed = {key for key in plain.inputs if plain.inputs[key] != protected.inputs[key]}
    assert changed == {"terminationProtection", "tags"}  # the spec's hash is a tag


def test_cluster_with_image_root_volume_key_and_placement(cluster: Evaluate) -> None:
    spec = pets(
        ami="ami-0a1b",
        root_volume_gb=40,
        key_pair="mine",
        primary={"count": 3},
        termination_protection=True,
        placement="spread",
    )
    inputs = cluster(spec)["cluster"].inputs
    assert (inputs["customAmiId"], inputs["ebsRootVolumeSize"]) == ("ami-0a1b", 40)
    assert inputs["ec2Attributes"]["keyName"] == "mine"
    assert inputs["masterInstanceGroup"]["instanceCount"] == 3
    assert inputs["placementGroupConfigs"] == [
        {"instanceRole": "MASTER", "placementStrategy": "SPREAD"}
    ]


def test_spec_hash_tag_changes_with_spec(cluster: Evaluate) -> None:
    first, second = cluster(PETS), cluster(pets(core={"count": 9}))
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
