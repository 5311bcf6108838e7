"""A cluster's EC2 instances and security groups in moto."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup

_AMI = "ami-12c6146b"


def _ec2(cluster: EmulatedCluster) -> Any:
    from moto.ec2.models import ec2_backends

    return ec2_backends[cluster.account][cluster.region]


def _subnet(cluster: EmulatedCluster) -> str | None:
    instances = cluster.request["Instances"]
    subnets = [instances.get("Ec2SubnetId"), *instances.get("Ec2SubnetIds", [])]
    return next((subnet for subnet in subnets if subnet), None)


def check_subnet(cluster: EmulatedCluster) -> bool:
    """Return whether the cluster's subnet exists, if it names one."""
    subnet = _subnet(cluster)
    subnets = [one.id for one in _ec2(cluster).describe_subnets()]
    return subnet is None or subnet in subnets


def check_security_groups(cluster: EmulatedCluster) -> str | None:
    """Return the first named security group that does not exist, or None."""
    instances = cluster.request["Instances"]
    names = ("EmrManagedMasterSecurityGroup", "EmrManagedSlaveSecurityGroup")
    names_or_none = [instances.get(name) for name in (*names, "ServiceAccessSecurityGroup")]
    names_or_none += instances.get("AdditionalMasterSecurityGroups", [])
    names_or_none += instances.get("AdditionalSlaveSecurityGroups", [])
    find = _ec2(cluster).get_security_group_from_id
    return next((one for one in names_or_none if one and find(one) is None), None)


def security_groups(cluster: EmulatedCluster) -> tuple[str | None, str | None, str | None]:
    """Return the groups of primary, core and service access; create those not named."""
    from moto.emr.utils import EmrSecurityGroupManager

    instances = cluster.request["Instances"]
    named = (
        instances.get("EmrManagedMasterSecurityGroup"),
        instances.get("EmrManagedSlaveSecurityGroup"),
        instances.get("ServiceAccessSecurityGroup"),
    )
    subnet = _subnet(cluster)
    if subnet is None or all(named[:2]):
        return named
    ec2 = _ec2(cluster)
    manager = EmrSecurityGroupManager(ec2, ec2.get_subnet(subnet).vpc_id)
    primary, worker, service = manager.manage_security_groups(*named)
    return primary.id, worker.id, service.id


def nodes(cluster: EmulatedCluster, group: InstanceGroup, count: int) -> list[EmulatedNode]:
    """Create `count` nodes of the group, each with a running EC2 instance."""
    if count == 0:
        return []
    options: dict[str, Any] = {
        "instance_type": group.instance_type,
        "is_instance_type_default": False,
        "region_name": cluster.region,
        "subnet_id": _subnet(cluster),
        "key_name": cluster.request["Instances"].get("Ec2KeyName"),
        "tags": {"instance": _tags(cluster, group)},
        "security_group_ids": _groups_of(cluster, group),
    }
    reservation = _ec2(cluster).run_instances(_AMI, count, None, [], **options)
    return [
        EmulatedNode(
            group=group,
            ec2_id=one.id,
            public_dns=one.public_dns_name or one.private_dns_name,
            public_ip=one.public_ip or "",
            private_dns=one.private_dns_name,
            private_ip=one.private_ip,
        )
        for one in reservation.instances
    ]


def _groups_of(cluster: EmulatedCluster, group: InstanceGroup) -> list[str]:
    primary, worker, _ = cluster.security_groups
    own = primary if group.role == "MASTER" else worker
    return [own] if own else []


def _tags(cluster: EmulatedCluster, group: InstanceGroup) -> dict[str, str]:
    return cluster.tags | {
        "aws:elasticmapreduce:job-flow-id": cluster.id,
        "aws:elasticmapreduce:instance-group-role": group.role,
    }


def terminate(cluster: EmulatedCluster, nodes: Sequence[EmulatedNode]) -> None:
    """Terminate the nodes' instances; some may be terminated already."""
    ec2 = _ec2(cluster)
    existing = {one.id for reservation in ec2.all_reservations() for one in reservation.instances}
    ids = [node.ec2_id for node in nodes if node.ec2_id in existing]
    if ids:
        ec2.terminate_instances(ids)
