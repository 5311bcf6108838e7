"""Where a cluster stands and who it is there: network, roles, keys, buckets."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from emrctl.spec.types import BucketName, Count, Properties, Spec

Arn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:")]
VpcId = Annotated[str, Field(pattern=r"^vpc-[0-9a-z]+$")]
SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-z]+$")]
Endpoint = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$")]


class StorageSpec(Spec):
    """The bucket of a project: runs, logs, code and data.

    S3 writes who used it into the bucket `access_logs`, which must exist and let S3 do so.
    """

    bucket: BucketName | None = None
    versioning: bool = True
    kms_key: str | None = None
    expire_logs_days: Count = 30
    expire_uploads_days: Count = 3
    access_logs: BucketName | None = None


class BucketSpec(Spec):
    """A further bucket that the nodes may read, or read and write, below `prefix`."""

    name: BucketName
    access: Literal["read", "write"] = "read"
    prefix: str = ""
    kms_key: str | None = None


class NetworkSpec(Spec):
    """The VPC that a cluster gets of its own, or the subnets that it finds there.

    Subnets are given by their ids, or by tags that they carry, and with them the VPC where it is
    not theirs to tell. In a `private` network nodes have no public address: AWS is reached by
    endpoints, everything else by `nat` alone. `close_default_group` takes every rule out of the
    VPC's default security group.
    """

    cidr: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+\.\d+/\d+$")] = "10.42.0.0/16"
    zone: str | None = None
    private: bool = False
    nat: bool = False
    endpoints: tuple[Endpoint, ...] | None = None
    close_default_group: bool = False
    vpc: VpcId | Properties | None = None
    subnets: tuple[SubnetId, ...] | Properties = ()

    @field_validator("subnets", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def existing(self) -> bool:
        """Whether the cluster stands in subnets that emrctl did not make."""
        return bool(self.subnets)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.vpc is not None and not self.subnets:
            raise ValueError(
                "network.vpc needs network.subnets: emrctl makes none in a VPC of yours"
            )
        if self.nat and not self.private:
            raise ValueError("network.nat is for a private network: set private: true as well")
        if self.endpoints is not None and not self.private:
            raise ValueError("network.endpoints are for a private network: set private: true")
        own = {"zone", "nat", "endpoints", "close_default_group"} & self.model_fields_set
        if self.existing and own:
            names = ", ".join(f"network.{name}" for name in sorted(own))
            raise ValueError(f"{names}: emrctl changes nothing in subnets that are not its own")
        return self


class RolesSpec(Spec):
    """Roles that exist already, by name, or the limits of those that emrctl makes.

    `ssm` lets Session Manager reach the nodes.
    """

    service: str | None = None
    instance_profile: str | None = None
    permissions_boundary: Arn | None = None
    ssm: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ssm and self.instance_profile is not None:
            raise ValueError(
                "roles.ssm changes the role that emrctl makes, not roles.instance_profile: "
                "attach AmazonSSMManagedInstanceCore to it yourself"
            )
        if self.permissions_boundary and self.service and self.instance_profile:
            raise ValueError(
                "roles.permissions_boundary is for roles that emrctl makes: it makes none"
            )
        return self


class SecuritySpec(Spec):
    """EMR's security configuration; instances answer IMDSv2 alone in any case.

    At rest S3 is encrypted with `storage.kms_key`, else with S3's own keys, and disks with
    `disk_key`. `in_transit` is the archive of certificates on S3; `emrctl certificates` makes one.
    `configuration` names one that exists, in place of all that.
    """

    at_rest: bool = False
    disk_key: Arn | None = None
    in_transit: Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]+/.+\.zip$")] | None = None
    log_key: Arn | None = None
    configuration: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_kerberos(cls, value: Any) -> Any:
        return without_kerberos(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.disk_key and not self.at_rest:
            raise ValueError("security.disk_key encrypts disks at rest: set at_rest: true as well")
        if self.configuration and (self.at_rest or self.in_transit):
            raise ValueError(
                "security.configuration names one that exists: at_rest and in_transit are its own"
            )
        return self


def without_kerberos(value: Any) -> Any:
    """`value`; refused where it asks for Kerberos, with what there is instead."""
    if isinstance(value, dict) and "kerberos" in value:
        raise ValueError(
            "kerberos is left out: emrctl keeps no key distribution centre. IAM and groups "
            "say who may do what, and security.in_transit encrypts traffic"
        )
    return value
