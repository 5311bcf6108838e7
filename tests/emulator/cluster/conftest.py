"""Fixtures of clusters in folders of a temporary directory, without Java."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.api import dispatch
from emrctl.emulator.api.service import Service
from emrctl.emulator.cluster.local_runtime import LocalRuntime
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.cluster.scaling import NodeLoad
from tests.emulator.conftest import Emr

BUSY = NodeLoad(containers=1, available_mb=4096)


class Group:
    """The core group of a cluster, as the EMR API returns it."""

    def __init__(self, emr: Emr, cluster_id: str) -> None:
        self.emr, self.cluster_id = emr, cluster_id

    def __call__(self) -> dict[str, Any]:
        groups = self.emr.list_instance_groups(ClusterId=self.cluster_id)["InstanceGroups"]
        return next(one for one in groups if one["InstanceGroupType"] == "CORE")

    def counts(self) -> tuple[str, int, int]:
        group = self()
        state = group["Status"]["State"]
        return state, group["RequestedInstanceCount"], group["RunningInstanceCount"]

    def resize(self, count: int, **change: Any) -> None:
        change = {"InstanceGroupId": self()["Id"], "InstanceCount": count} | change
        self.emr.modify_instance_groups(ClusterId=self.cluster_id, InstanceGroups=[change])

    def instances(self, *states: str) -> list[dict[str, Any]]:
        return list(
            self.emr.list_instances(
                ClusterId=self.cluster_id,
                InstanceGroupTypes=["CORE"],
                InstanceStates=list(states or ("RUNNING",)),
            )["Instances"]
        )

    def ids(self, *states: str) -> list[str]:
        return [one["Ec2InstanceId"] for one in self.instances(*states)]


@pytest.fixture
def group(emr: Emr, waiting: str) -> Group:
    return Group(emr, waiting)


def _node(role: str, number: int) -> EmulatedNode:
    group = InstanceGroup(role=role, instance_type="m5.xlarge", count=1, request={})
    names: Any = {"public_dns": "p", "public_ip": "1", "private_dns": "q", "private_ip": "2"}
    return EmulatedNode(group=group, ec2_id=f"i-{number:017x}", **names)


@pytest.fixture
def cluster() -> EmulatedCluster:
    request = {
        "Name": "pets",
        "ReleaseLabel": "emr-7.5.0",
        "LogUri": "s3://pets-logs/",
        "Instances": {},
    }
    cluster = EmulatedCluster(request=request, region="us-east-1", account="123456789012")
    cluster.nodes = [_node("MASTER", 1), _node("CORE", 2)]
    cluster.groups = [node.group for node in cluster.nodes]
    return cluster


@pytest.fixture
def local_runtime(mocked: Target, context: EmulatorContext) -> Iterator[LocalRuntime]:
    runtime = LocalRuntime(context)
    with dispatch.install(runtime):
        mocked.client("s3").create_bucket(Bucket="pets-logs")
        mocked.client("s3").create_bucket(Bucket="pets-code")
        yield runtime


@pytest.fixture
def frequent_scaling(service: Service) -> None:
    """Evaluate managed scaling without waiting."""
    service.scaling_interval_s = 0.02
