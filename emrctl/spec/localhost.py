"""Keys that are not supported on localhost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emrctl.errors import SpecError

if TYPE_CHECKING:
    from emrctl.spec.project import ProjectSpec

# Dotted keys that need AWS if they differ from their default.
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
AWS_ONLY_EMR = (
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
_AWS_ONLY = {"emr": AWS_ONLY_EMR, "ec2": AWS_ONLY_EC2}


def aws_only_keys(project: ProjectSpec) -> tuple[str, ...]:
    """Return the keys of the spec that are not supported on localhost."""
    kind = project.cluster.kind
    defaults = type(project).model_validate({"project": project.project, "cluster": {"kind": kind}})
    return tuple(key for key in _AWS_ONLY[kind] if _at(project, key) != _at(defaults, key))


def check_local(project: ProjectSpec) -> None:
    """Raise `SpecError` with the keys that are not supported on localhost."""
    keys = aws_only_keys(project)
    if keys:
        verb = "is" if len(keys) == 1 else "are"
        msg = f"{', '.join(keys)} {verb} not supported on localhost"
        raise SpecError(msg, hint="Remove them from emrctl.yaml, or set `target: aws`.")


def _at(project: ProjectSpec, key: str) -> Any:
    value: Any = project
    for part in key.split("."):
        value = getattr(value, part)
    return value
