"""Clusters without processes, for tests of configuration files."""

from __future__ import annotations

from typing import Any

from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup


def emulated_cluster(
    *configurations: dict[str, Any], instance_type: str = "m5.xlarge", workers: int = 2
) -> EmulatedCluster:
    request = {
        "Name": "pets",
        "ReleaseLabel": "emr-7.5.0",
        "Instances": {},
        "Configurations": list(configurations),
    }
    cluster = EmulatedCluster(request=request, region="eu-west-1", account="123456789012")
    names: Any = {"public_dns": "p", "public_ip": "1", "private_dns": "q", "private_ip": "2"}
    for role, count in (("MASTER", 1), ("CORE", workers)):
        group = InstanceGroup(role=role, instance_type=instance_type, count=count, request={})
        cluster.groups.append(group)
        cluster.nodes += [
            EmulatedNode(group=group, ec2_id=f"i-{role}{n}", **names) for n in range(count)
        ]
    return cluster


def classification(name: str, **properties: str) -> dict[str, Any]:
    """Return a configuration; `__` in a property's name stands for a dot."""
    dotted = {key.replace("__", "."): value for key, value in properties.items()}
    return {"Classification": name, "Properties": dotted}
