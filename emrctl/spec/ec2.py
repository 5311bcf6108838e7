"""A cluster of plain EC2 instances that runs Spark's own standalone master and workers."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from emrctl.aws import instance_types
from emrctl.spec.emr import BootstrapSpec, bucket_names, short_scripts
from emrctl.spec.network_security import Arn, BucketSpec, NetworkSpec, RolesSpec
from emrctl.spec.nodes import GroupSpec
from emrctl.spec.types import Count, Ec2TypeName, Name, Properties, Spec, Usd

_AMI = r"^(ami-[0-9a-f]+|/[A-Za-z0-9_./{}-]+)$"
_WHEELHOUSE = r"^s3://[a-z0-9][a-z0-9.-]+(/.*)?$"
# Amazon Linux 2023, as AWS keeps it current; what stands in braces is the node's own.
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{arch}"
NOBODY, CALLER = "none", "caller"


class MachineSpec(Spec):
    """Equal instances with one encrypted disk each; `type` is an EC2 instance type.

    `spot` ones are cheaper, may go at any time and cannot be stopped. No more than `bid_usd` is
    paid for one an hour, by default the price on demand.
    """

    type: Ec2TypeName = "m5.xlarge"
    root_gb: Annotated[int, Field(ge=10, le=16_384)] = 64
    root_type: Literal["gp3", "gp2", "io1", "io2"] = "gp3"
    spot: bool = False
    bid_usd: Usd | None = None

    @model_validator(mode="after")
    def _bids_for_spot(self) -> Self:
        if self.bid_usd is not None and not self.spot:
            raise ValueError("bid_usd is for spot instances: set spot: true as well")
        return self


class WorkersSpec(MachineSpec):
    """The workers: spot instances, unless `spot: false`."""

    count: Count = 2
    spot: bool = True


class DisksSpec(Spec):
    """Disks are always encrypted: with `disk_key`, else with the account's own key."""

    disk_key: Arn | None = None

    @property
    def log_key(self) -> None:
        """Logs are encrypted with the bucket's key."""

    @property
    def in_transit(self) -> None:
        """Spark encrypts traffic with a shared secret, without certificates."""


class Ec2ClusterSpec(Spec):
    """Spark standalone on EC2 instances: one primary and its workers.

    `spark` is the version of pyspark that the nodes get. `ami` is an image, or the path of the SSM
    parameter that names one (`{arch}` in it is the node's): it is looked up once and kept as long
    as the cluster stands. Without `key_pair` emrctl makes one. `ssh` says from where nodes are
    reached: the `caller`'s address, a range of addresses, or `none`. `wheelhouse` is where on S3
    the nodes find what they would else fetch from package indexes.
    """

    name: Name = "main"
    kind: Literal["ec2"] = "ec2"
    spark: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "3.5.9"
    ami: Annotated[str, Field(pattern=_AMI)] = IMAGE
    primary: MachineSpec = MachineSpec()
    worker: WorkersSpec = WorkersSpec()
    bootstrap: tuple[BootstrapSpec, ...] = (BootstrapSpec(script="python.sh", args=("boto3",)),)
    step_concurrency: Annotated[int, Field(ge=1, le=256)] = 1
    ttl_s: Annotated[int, Field(ge=0)] = 4 * 3600
    key_pair: str | None = None
    ssh: str = CALLER
    placement: Literal["cluster", "partition", "spread"] | None = None
    network: NetworkSpec = NetworkSpec()
    roles: RolesSpec = RolesSpec()
    security: DisksSpec = DisksSpec()
    buckets: tuple[BucketSpec, ...] = ()
    wheelhouse: Annotated[str, Field(pattern=_WHEELHOUSE)] | None = None
    max_hourly_cost: Usd | None = None
    tags: Properties = Field(default_factory=dict)

    emr_fee: ClassVar[bool] = False
    requests_public_address: ClassVar[bool] = True
    endpoint_service: ClassVar[str] = "ec2"

    @field_validator("bootstrap", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return short_scripts(value)

    @field_validator("buckets", mode="before")
    @classmethod
    def _bucket_names(cls, value: Any) -> Any:
        return bucket_names(value)

    @field_validator("ssh")
    @classmethod
    def _from_where(cls, value: str) -> str:
        if value in {CALLER, NOBODY}:
            return value
        try:
            found = ipaddress.IPv4Network(value)
        except ValueError as error:
            msg = f"'{value}' is neither {CALLER} nor {NOBODY} nor a range as 203.0.113.7/32"
            raise ValueError(msg) from error
        if not found.prefixlen:
            raise ValueError("the whole world may not come in: name a range of addresses")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        place, roles = self.network, self.roles
        if place.private and self.ssh == CALLER:
            raise ValueError(
                "in a private network nobody comes in from the caller's address: set ssh to the "
                f"range of your VPN, or to {NOBODY} with roles.ssm"
            )
        if self.ssh == NOBODY and not roles.ssm and roles.instance_profile is None:
            raise ValueError(f"ssh is {NOBODY}: set roles.ssm: true, or nothing reaches the nodes")
        closed = place.private and not place.nat and not place.existing
        if closed and self.wheelhouse is None:
            raise ValueError(
                "in a private network without nat nodes reach no package index: set wheelhouse"
            )
        return self

    @model_validator(mode="after")
    def _without_emr(self) -> Self:
        if self.roles.service is not None:
            raise ValueError("roles.service is EMR's: a cluster of EC2 instances has none")
        if isinstance(self.network.subnets, tuple) and len(self.network.subnets) > 1:
            raise ValueError("the instances stand in one subnet: give one of network.subnets")
        kinds = {instance_types.instance_type(name).arch for name in self.types}
        if self.ami.startswith("ami-") and len(kinds) > 1:
            raise ValueError(f"no image is for {' and '.join(sorted(kinds))}: leave ami out")
        burst = next((name for name in self.types if name.startswith("t")), None)
        if self.placement == "cluster" and burst is not None:
            raise ValueError(f"EC2 packs no {burst} into a placement group: take another type")
        if self.placement == "spread" and self.worker.count > 6:
            raise ValueError("placement: spread holds 7 instances in a zone, the primary included")
        return self

    @property
    def release(self) -> str:
        """What runs on the nodes, in one word, as EMR's releases are."""
        return f"spark-{self.spark}"

    @property
    def limited(self) -> bool:
        """Whether the cluster is to end by itself after `ttl_s`."""
        return self.ttl_s > 0

    @property
    def one_subnet(self) -> bool:
        """All instances stand in one subnet."""
        return True

    @property
    def fleets(self) -> None:
        """Instances are created individually, without fleets."""

    @property
    def task(self) -> tuple[()]:
        """There are no task nodes."""
        return ()

    @property
    def scaling(self) -> None:
        """Workers are resized by `up` only."""

    def bootstrap_actions(self, _region: str) -> tuple[BootstrapSpec, ...]:
        """Return the spec's bootstrap actions; emrctl limits the cluster's time over SSH."""
        return self.bootstrap

    @property
    def groups(self) -> dict[str, GroupSpec]:
        """The primary and the workers, by role."""
        return {"primary": self.primary_group, "worker": self.core_group}

    @property
    def primary_group(self) -> GroupSpec:
        """The primary as a group of one."""
        return _group(self.primary, 1)

    @property
    def core_group(self) -> GroupSpec:
        """The workers as a group."""
        return _group(self.worker, self.worker.count)

    @property
    def nodes(self) -> int:
        """How many instances it has."""
        return 1 + self.worker.count

    @property
    def nodes_at_most(self) -> int:
        """The same: nothing scales it but its spec."""
        return self.nodes

    @property
    def types(self) -> tuple[str, ...]:
        """Every instance type that it takes, each once, the primary's first."""
        return tuple(dict.fromkeys((self.primary.type, self.worker.type)))

    def image(self, type_: str) -> str:
        """The image, or the path of the parameter that names it, for nodes of this type."""
        return self.ami.replace("{arch}", instance_types.instance_type(type_).arch)


def _group(spec: MachineSpec, count: int) -> GroupSpec:
    bid = (spec.bid_usd or instance_types.instance_type(spec.type).ec2_usd) if spec.spot else None
    group = GroupSpec(bid_usd=bid, volume_gb=spec.root_gb, volume_type=spec.root_type)
    # EMR may not take that type. And observed, all workers may be gone: no group to ask for.
    return group.model_copy(update={"type": spec.type, "count": count})
