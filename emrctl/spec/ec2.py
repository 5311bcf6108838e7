"""Spec of a Spark standalone cluster on EC2 instances."""

from __future__ import annotations

import ipaddress
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from emrctl.aws import instance_types
from emrctl.spec.emr import Bootstrap, BootstrapSpec
from emrctl.spec.instance_groups import GroupSpec
from emrctl.spec.network_security import Arn, Buckets, NetworkSpec, RolesSpec
from emrctl.spec.types import Count, Ec2TypeName, Name, NodePython, Spec, Tags, Usd

_AMI = r"^(ami-[0-9a-f]+|/[A-Za-z0-9_./{}-]+)$"
_WHEELHOUSE = r"^s3://[a-z0-9][a-z0-9.-]+(/.*)?$"
# The current Amazon Linux 2023; {arch} is replaced by the node's architecture.
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{arch}"
NO_SSH, CALLER = "none", "caller"


class MachineSpec(Spec):
    """Equal instances with one encrypted disk each; `type` is an EC2 instance type.

    `spot` instances are cheaper, can be interrupted at any time and cannot be stopped. `bid_usd` is
    the maximum price per instance and hour, by default the on-demand price.
    """

    type: Ec2TypeName = "m5.xlarge"
    root_gb: Annotated[int, Field(ge=10, le=16_384)] = 64
    root_type: Literal["gp3", "gp2", "io1", "io2"] = "gp3"
    spot: bool = False
    bid_usd: Usd | None = None

    @model_validator(mode="after")
    def _bids_for_spot(self) -> Self:
        if self.bid_usd is not None and not self.spot:
            raise ValueError("bid_usd requires spot: true")
        return self


class WorkersSpec(MachineSpec):
    """The workers: spot instances, unless `spot: false`."""

    count: Count = 2
    spot: bool = True


class DisksSpec(Spec):
    """Disks are always encrypted, with `disk_key` or the account's default key."""

    disk_key: Arn | None = None

    log_key: ClassVar[None] = None  # logs are encrypted with the bucket's key
    in_transit: ClassVar[None] = None  # Spark encrypts with a shared secret, without certificates


class Ec2ClusterSpec(Spec):
    """Spark standalone on EC2 instances: one primary and its workers.

    `spark` is the version of pyspark on the nodes. `ami` is an image id or the path of an SSM
    parameter (`{arch}` is replaced), which is resolved once per cluster. Without `key_pair` emrctl
    creates one. `ssh` is the source of SSH connections: `caller` (this machine's address), a CIDR
    range, or `none`. `wheelhouse` is an S3 prefix that replaces package indexes.
    """

    name: Name = "main"
    kind: Literal["ec2"] = "ec2"
    spark: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "3.5.9"
    ami: Annotated[str, Field(pattern=_AMI)] = IMAGE
    primary: MachineSpec = MachineSpec()
    worker: WorkersSpec = WorkersSpec()
    bootstrap: Bootstrap = (BootstrapSpec(script="python.sh", args=("boto3",)),)
    step_concurrency: Annotated[int, Field(ge=1, le=256)] = 1
    ttl_s: Annotated[int, Field(ge=0)] = 4 * 3600
    key_pair: str | None = None
    ssh: str = CALLER
    placement: Literal["cluster", "partition", "spread"] | None = None
    network: NetworkSpec = NetworkSpec()
    roles: RolesSpec = RolesSpec()
    security: DisksSpec = DisksSpec()
    buckets: Buckets = ()
    wheelhouse: Annotated[str, Field(pattern=_WHEELHOUSE)] | None = None
    max_hourly_cost: Usd | None = None
    tags: Tags = Field(default_factory=dict)

    emr_fee: ClassVar[bool] = False
    requests_public_address: ClassVar[bool] = True
    endpoint_service: ClassVar[str] = "ec2"
    one_subnet: ClassVar[bool] = True
    # Instances are created individually, and resized by `up` only.
    fleets: ClassVar[None] = None
    task_groups: ClassVar[tuple[()]] = ()
    scaling: ClassVar[None] = None

    @field_validator("ssh")
    @classmethod
    def _check_ssh(cls, value: str) -> str:
        if value in {CALLER, NO_SSH}:
            return value
        try:
            network = ipaddress.IPv4Network(value)
        except ValueError as error:
            msg = f"'{value}' is not {CALLER}, {NO_SSH} or a CIDR range such as 203.0.113.7/32"
            raise ValueError(msg) from error
        if not network.prefixlen:
            raise ValueError("0.0.0.0/0 is not allowed: use a smaller CIDR range")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        network, roles = self.network, self.roles
        if network.private and self.ssh == CALLER:
            raise ValueError(
                "the caller's address cannot reach a private network: set ssh to the CIDR range of "
                f"your VPN, or to {NO_SSH} with roles.ssm"
            )
        if self.ssh == NO_SSH and not roles.ssm and roles.instance_profile is None:
            raise ValueError(f"ssh: {NO_SSH} requires roles.ssm: true")
        closed = network.private and not network.nat and not network.existing
        if closed and self.wheelhouse is None:
            raise ValueError(
                "without nat a private network cannot reach package indexes: set wheelhouse"
            )
        return self

    @model_validator(mode="after")
    def _without_emr(self) -> Self:
        if self.roles.service is not None:
            raise ValueError("roles.service is not supported for kind: ec2")
        if isinstance(self.network.subnets, tuple) and len(self.network.subnets) > 1:
            raise ValueError("all instances are in one subnet: set a single one in network.subnets")
        kinds = {instance_types.instance_type(name).arch for name in self.types}
        if self.ami.startswith("ami-") and len(kinds) > 1:
            raise ValueError(f"one ami cannot be used for {' and '.join(sorted(kinds))}: omit ami")
        burst = next((name for name in self.types if name.startswith("t")), None)
        if self.placement == "cluster" and burst is not None:
            raise ValueError(f"placement: cluster does not support {burst}: use another type")
        if self.placement == "spread" and self.worker.count > 6:
            raise ValueError(
                "placement: spread supports up to 7 instances per zone, including the primary"
            )
        return self

    @property
    def release(self) -> str:
        """Release name like EMR's, e.g. spark-3.5.9."""
        return f"spark-{self.spark}"

    @property
    def python(self) -> NodePython:
        """The Python that bootstrap/spark.sh chooses: Spark 4.1 requires a newer one."""
        newer = tuple(map(int, self.spark.split(".")[:2])) >= (4, 1)
        return NodePython("python3", "3.11" if newer else "3.9", "manylinux_2_34")

    @property
    def limited(self) -> bool:
        """Whether the cluster terminates itself after `ttl_s`."""
        return self.ttl_s > 0

    def bootstrap_actions(self, _region: str) -> tuple[BootstrapSpec, ...]:
        """Return the spec's bootstrap actions; emrctl limits the cluster's time over SSH."""
        return self.bootstrap

    @property
    def groups(self) -> dict[str, GroupSpec]:
        """The primary and the workers, by role."""
        return {"primary": self.primary_group, "worker": self.core_group}

    @property
    def primary_group(self) -> GroupSpec:
        """The primary as a group with one instance."""
        return _group(self.primary, 1)

    @property
    def core_group(self) -> GroupSpec:
        """The workers as a group."""
        return _group(self.worker, self.worker.count)

    @property
    def nodes(self) -> int:
        """Number of instances."""
        return 1 + self.worker.count

    @property
    def nodes_at_most(self) -> int:
        """Maximum number of instances: the same, without scaling."""
        return self.nodes

    @property
    def types(self) -> tuple[str, ...]:
        """Distinct instance types, the primary's first."""
        return tuple(dict.fromkeys((self.primary.type, self.worker.type)))

    def image(self, type_: str) -> str:
        """Return the image id or SSM parameter path for an instance type."""
        return self.ami.replace("{arch}", instance_types.instance_type(type_).arch)


def _group(spec: MachineSpec, count: int) -> GroupSpec:
    bid = (spec.bid_usd or instance_types.instance_type(spec.type).ec2_usd) if spec.spot else None
    group = GroupSpec(bid_usd=bid, volume_gb=spec.root_gb, volume_type=spec.root_type)
    # Without validation: EMR may not support the type, and an observed count may be 0.
    return group.model_copy(update={"type": spec.type, "count": count})
