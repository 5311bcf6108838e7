"""What the AWS on localhost has not got, refused by name before anything is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emrctl.errors import SpecError

if TYPE_CHECKING:
    from emrctl.spec.project import ProjectSpec

# Dotted keys; what differs from its default here needs AWS.
_BOTH = (
    "cluster.placement",
    "cluster.network.private",
    "cluster.network.nat",
    "cluster.network.endpoints",
    "cluster.network.close_default_group",
    "cluster.roles.permissions_boundary",
    "cluster.roles.ssm",
    "cluster.security.disk_key",
    "storage.access_logs",
)
AWS_ALONE = (
    "cluster.primary.count",
    "cluster.primary.bid_usd",
    "cluster.core.bid_usd",
    "cluster.task",
    "cluster.fleets",
    "cluster.scaling",
    "cluster.ami",
    "cluster.root_volume_gb",
    "cluster.key_pair",
    "cluster.network.vpc",
    "cluster.network.subnets",
    "cluster.roles.service",
    "cluster.roles.instance_profile",
    "cluster.security.at_rest",
    "cluster.security.in_transit",
    "cluster.security.log_key",
    "cluster.security.configuration",
    *_BOTH,
)
# Instances can use existing networks and profiles on localhost as on AWS.
AWS_ONLY_EC2 = _BOTH
_AWS_ONLY = {"emr": AWS_ALONE, "ec2": AWS_ONLY_EC2}


def aws_alone(project: ProjectSpec) -> tuple[str, ...]:
    """The keys of the spec that ask for what the AWS on localhost has not got."""
    kind = project.cluster.kind
    bare = type(project).model_validate({"project": project.project, "cluster": {"kind": kind}})
    return tuple(key for key in _AWS_ONLY[kind] if _at(project, key) != _at(bare, key))


def refuse_local(project: ProjectSpec) -> None:
    """The spec asks for nothing that only AWS has; `SpecError` lists the keys that do."""
    keys = aws_alone(project)
    if keys:
        verb = "is" if len(keys) == 1 else "are"
        msg = f"{', '.join(keys)} {verb} not to be had on localhost"
        raise SpecError(msg, hint="Take them out of emrctl.yaml, or set `target: aws`.")


def _at(project: ProjectSpec, key: str) -> Any:
    value: Any = project
    for part in key.split("."):
        value = getattr(value, part)
    return value
