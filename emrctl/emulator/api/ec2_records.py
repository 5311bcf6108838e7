"""The EC2 side of a cluster: instances and security groups, as moto keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, InstanceGroup

_AMI = "ami-12c6146b"


def _ec2(cluster: EmulatedCluster) -> Any:
    from moto.ec2.models import ec2_backends

    return ec2_backends[cluster.account][cluster.region]


def _subnet(cluster: EmulatedCluster) -> str | None:
    asked = cluster.request["Instances"]
    subnets = [asked.get("Ec2SubnetId"), *asked.get("Ec2SubnetIds", [])]
    return next((subnet for subnet in subnets if subnet), None)


def check_subnet(cluster: EmulatedCluster) -> bool:
    """Whether the cluster names no subnet, or one that exists."""
    subnet = _subnet(cluster)
    found = [one.id for one in _ec2(cluster).describe_subnets()]
    return subnet is None or subnet in found


def check_security_groups(cluster: EmulatedCluster) -> str | None:
    """The first security group that the cluster names and EC2 does not know."""
    asked = cluster.request["Instances"]
    names = ("EmrManagedMasterSecurityGroup", "EmrManagedSlaveSecurityGroup")
    wanted = [asked.get(name) for name in (*names, "ServiceAccessSecurityGroup")]
    wanted += asked.get("AdditionalMasterSecurityGroups", [])
    wanted += asked.get("AdditionalSlaveSecurityGroups", [])
    known = _ec2(cluster).get_security_group_from_id
    return next((one for one in wanted if one and known(one) is None), None)


def security_groups(cluster: EmulatedCluster) -> tuple[str | None, str | None, str | None]:
    """The primary's, the workers' and the service's group; EMR makes what is not named."""
    from moto.emr.utils import EmrSecurityGroupManager

    asked = cluster.request["Instances"]
    given = (
        asked.get("EmrManagedMasterSecurityGroup"),
        asked.get("EmrManagedSlaveSecurityGroup"),
        asked.get("ServiceAccessSecurityGroup"),
    )
    subnet = _subnet(cluster)
    if subnet is None or all(given[:2]):
        return given
    ec2 = _ec2(cluster)
    manager = EmrSecurityGroupManager(ec2, ec2.get_subnet(subnet).vpc_id)
    primary, worker, service = manager.manage_security_groups(*given)
    return primary.id, worker.id, service.id


def nodes(cluster: EmulatedCluster, group: InstanceGroup, count: int) -> list[EmulatedNode]:
    """That many new nodes of the group, each with a running EC2 instance."""
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


def terminate(cluster: EmulatedCluster, gone: Sequence[EmulatedNode]) -> None:
    """The nodes' instances are terminated, those that somebody terminated before included."""
    ec2 = _ec2(cluster)
    known = {one.id for reservation in ec2.all_reservations() for one in reservation.instances}
    ids = [node.ec2_id for node in gone if node.ec2_id in known]
    if ids:
        ec2.terminate_instances(ids)
