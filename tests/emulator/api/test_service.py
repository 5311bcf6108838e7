"""Rules of the EMR API for all operations: regions, ended clusters and error bodies."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from tests.emulator.conftest import Await, Emr, state

_LIMITS = {"UnitType": "Instances", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 2}
_POLICY = {"ComputeLimits": _LIMITS}


def test_cluster_is_found_by_its_id_from_another_region_but_not_listed(
    mocked: Target, waiting: str
) -> None:
    # mrjob signs for another region than its own if it has a custom endpoint.
    other = dataclasses.replace(mocked, region="eu-west-1").client("emr")
    assert other.describe_cluster(ClusterId=waiting)["Cluster"]["Id"] == waiting
    assert other.list_clusters()["Clusters"] == []


def test_change_of_ended_cluster_is_rejected(emr: Emr, waiting: str, until: Await) -> None:
    group = emr.list_instance_groups(ClusterId=waiting)["InstanceGroups"][1]["Id"]
    emr.terminate_job_flows(JobFlowIds=[waiting])
    until(lambda: state(emr, waiting), "TERMINATED")
    ids, flows = {"ClusterId": waiting}, {"JobFlowIds": [waiting]}
    scaling = {"Constraints": {"MinCapacity": 1, "MaxCapacity": 2}, "Rules": []}
    calls: list[tuple[Any, dict[str, Any]]] = [
        (emr.set_termination_protection, flows | {"TerminationProtected": True}),
        (emr.set_visible_to_all_users, flows | {"VisibleToAllUsers": False}),
        (
            emr.set_keep_job_flow_alive_when_no_steps,
            flows | {"KeepJobFlowAliveWhenNoSteps": False},
        ),
        (emr.set_unhealthy_node_replacement, flows | {"UnhealthyNodeReplacement": True}),
        (emr.modify_cluster, ids | {"StepConcurrencyLevel": 2}),
        (emr.add_tags, {"ResourceId": waiting, "Tags": [{"Key": "a", "Value": "b"}]}),
        (emr.remove_tags, {"ResourceId": waiting, "TagKeys": ["a"]}),
        (
            emr.put_managed_scaling_policy,
            ids | {"ManagedScalingPolicy": _POLICY},
        ),
        (emr.remove_managed_scaling_policy, ids),
        (emr.put_auto_termination_policy, ids | {"AutoTerminationPolicy": {"IdleTimeout": 60}}),
        (emr.remove_auto_termination_policy, ids),
        (
            emr.put_auto_scaling_policy,
            ids | {"InstanceGroupId": group, "AutoScalingPolicy": scaling},
        ),
        (emr.remove_auto_scaling_policy, ids | {"InstanceGroupId": group}),
    ]
    for call, members in calls:
        with pytest.raises(ClientError, match="may not be modified") as caught:
            call(**members)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    emr.terminate_job_flows(JobFlowIds=[waiting])
    assert emr.describe_cluster(**ids)["Cluster"]["TerminationProtected"] is False


def test_error_of_unknown_cluster_has_error_code(emr: Emr) -> None:
    calls = [
        (emr.describe_cluster, {"ClusterId": "j-1"}, "NoSuchCluster"),
        (emr.describe_security_configuration, {"Name": "none"}, "InvalidRequest"),
    ]
    for call, members, expected in calls:
        with pytest.raises(ClientError) as caught:
            call(**members)
        response: dict[str, Any] = {**caught.value.response}
        assert response["ErrorCode"] == expected
