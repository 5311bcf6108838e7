"""The EMR cluster of the cluster stack: three primary nodes."""

from __future__ import annotations

import pytest

from emrctl.clusters import emr as clusters
from emrctl.errors import ProvisioningError
from tests.engine.conftest import Work, made, project

THREE = {"primary": {"count": 3, "bid_usd": 0.1}, "core": {"count": 1}, "placement": "spread"}


def test_up_creates_three_primaries_that_termination_protection_keeps(emulated: Work) -> None:
    id_ = emulated.up(**THREE, termination_protection=True).outputs["cluster_id"]
    assert emulated.preview(**THREE, termination_protection=True).empty
    emr = emulated.target.client("emr")
    cluster = emr.describe_cluster(ClusterId=id_)["Cluster"]
    assert (cluster["TerminationProtected"], cluster["AutoTerminate"]) == (True, False)
    assert cluster["PlacementGroups"] == [{"InstanceRole": "MASTER", "PlacementStrategy": "SPREAD"}]
    groups = emr.list_instance_groups(ClusterId=id_)["InstanceGroups"]
    found = {
        one["InstanceGroupType"]: (one["RunningInstanceCount"], one["Market"]) for one in groups
    }
    assert found == {"MASTER": (3, "SPOT"), "CORE": (1, "ON_DEMAND")}
    primaries = emr.list_instances(ClusterId=id_, InstanceGroupTypes=["MASTER"])["Instances"]
    assert len({one["Ec2InstanceId"] for one in primaries}) == 3
    with pytest.raises(ProvisioningError, match="termination protection") as caught:
        emulated.down()
    assert "termination_protection: false" in caught.value.hint
    assert made(emulated.up(**THREE, termination_protection=False)) == {"cluster": "update"}
    emulated.down()
    assert emulated.clusters() == []


def test_allow_termination_follows_spec_of_three_primaries(emulated: Work) -> None:
    emulated.up(**THREE, termination_protection=False)
    for spec in (THREE | {"termination_protection": True}, {"termination_protection": False}):
        clusters.allow_termination(project(**spec), emulated.target)
        with pytest.raises(ProvisioningError, match="termination protection"):
            emulated.down()
    clusters.allow_termination(project(**THREE, termination_protection=False), emulated.target)
    emulated.down()
    assert emulated.clusters() == []


def test_preview_of_one_primary_replaces_cluster(emulated: Work) -> None:
    emulated.up(**THREE, termination_protection=True)
    plan = emulated.preview(core={"count": 1}, primary={"bid_usd": 0.1})
    (cluster,) = [item for item in plan.changes if item.name == "cluster"]
    assert cluster.operation == "replace"
    assert cluster.keys == ("masterInstanceGroup", "placementGroupConfigs")
