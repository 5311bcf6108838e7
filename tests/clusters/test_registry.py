"""EMR clusters with instance fleets."""

from __future__ import annotations

import pytest

from emrctl.aws import target as targets
from emrctl.aws.target import Target
from emrctl.clusters import registry
from emrctl.errors import NotFoundError
from emrctl.spec import ProjectSpec
from tests.recorded import Recorded

FLEETS = {"core": {"types": [{"type": "m5.xlarge"}], "spot": 2}}
TARGET = Target(kind="aws", region="us-east-1")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Return the answers of a running cluster with instance fleets."""
    targets._client.cache_clear()
    targets._session.cache_clear()
    cluster = {
        "Id": "j-1",
        "Name": "pets-main",
        "ReleaseLabel": "emr-7.6.0",
        "InstanceCollectionType": "INSTANCE_FLEET",
        "LogUri": "s3n://the-bucket/logs/",
        "MasterPublicDnsName": "primary.example",
        "Status": {"State": "WAITING"},
        "Tags": [{"Key": "emrctl:project", "Value": "pets"}],
    }
    types = [{"InstanceType": "m5.xlarge", "WeightedCapacity": 1}]
    fleets = [
        {
            "Id": id_,
            "InstanceFleetType": role,
            "TargetOnDemandCapacity": 1 - spot,
            "TargetSpotCapacity": 2 * spot,
            "InstanceTypeSpecifications": types,
        }
        for id_, role, spot in (("if-1", "MASTER", 0), ("if-2", "CORE", 1))
    ]
    nodes = [
        {"Ec2InstanceId": f"i-{number}", "InstanceFleetId": fleet, "Status": {"State": "RUNNING"}}
        for number, fleet in enumerate(("if-2", "if-1", "if-2"))
    ]
    found = Recorded(
        {
            "ListClusters": {"Clusters": [{"Id": "j-1", "Name": "pets-main"}]},
            "DescribeCluster": {"Cluster": cluster},
            "ListInstanceFleets": {"InstanceFleets": fleets},
            "ListInstances": {"Instances": nodes},
        }
    )
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", found.answer)
    return found


def test_find_cluster_with_fleets(aws: Recorded) -> None:
    project = ProjectSpec.model_validate({"project": "pets", "cluster": {"fleets": FLEETS}})
    found = registry.find_cluster(project, TARGET)
    assert [(node.id, node.role) for node in found.nodes] == [
        ("i-1", "primary"),
        ("i-0", "core"),
        ("i-2", "core"),
    ]
    assert found.spec.release == "emr-7.6.0"
    assert found.spec.core_group.count == 2
    assert "ListInstanceGroups" not in {operation for operation, _ in aws.calls}


def test_find_cluster_names_region_and_how_to_change_it(aws: Recorded) -> None:
    aws.answers |= {"ListClusters": {"Clusters": []}, "DescribeInstances": {"Reservations": []}}
    project = ProjectSpec.model_validate({"project": "pets"})
    with pytest.raises(NotFoundError, match="is running in us-east-1") as caught:
        registry.find_cluster(project, TARGET)
    assert "another region" in caught.value.hint
