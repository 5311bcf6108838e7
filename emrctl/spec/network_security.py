"""Specs of network, roles, encryption and buckets."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from emrctl.spec.types import BucketName, Count, Properties, Spec, short_form

Arn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:")]
VpcId = Annotated[str, Field(pattern=r"^vpc-[0-9a-z]+$")]
SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-z]+$")]
Endpoint = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$")]


class StorageSpec(Spec):
    """The bucket of a project: runs, logs, code and data.

    `access_logs` is the target bucket of S3 server access logs; it must exist and allow them.
    """

    bucket: BucketName | None = None
    versioning: bool = True
    kms_key: str | None = None
    expire_logs_days: Count = 30
    expire_uploads_days: Count = 3
    access_logs: BucketName | None = None


class BucketSpec(Spec):
    """A bucket that the nodes may read, or read and write, below `prefix`."""

    name: BucketName
    access: Literal["read", "write"] = "read"
    prefix: str = ""
    kms_key: str | None = None


Buckets = Annotated[tuple[BucketSpec, ...], short_form("name")]


class NetworkSpec(Spec):
    """A VPC created for the cluster, or existing subnets.

    Subnets are given by ids or tags, and by `vpc` if the tags match several VPCs. In a `private`
    network nodes have no public address: they reach AWS through VPC endpoints and other hosts only
    through `nat`. `close_default_group` removes all rules of the VPC's default security group.
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
        """Whether the cluster uses existing subnets."""
        return bool(self.subnets)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.vpc is not None and not self.subnets:
            raise ValueError(
                "network.vpc requires network.subnets: emrctl creates no subnets in existing VPCs"
            )
        if self.nat and not self.private:
            raise ValueError("network.nat requires private: true")
        if self.endpoints is not None and not self.private:
            raise ValueError("network.endpoints require private: true")
        own = {"zone", "nat", "endpoints", "close_default_group"} & self.model_fields_set
        if self.existing and own:
            names = ", ".join(f"network.{name}" for name in sorted(own))
            raise ValueError(f"{names}: not supported with existing subnets")
        return self


class RolesSpec(Spec):
    """Existing roles by name, or options of the roles that emrctl creates.

    `ssm` allows Session Manager on the nodes.
    """

    service: str | None = None
    instance_profile: str | None = None
    permissions_boundary: Arn | None = None
    ssm: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ssm and self.instance_profile is not None:
            raise ValueError(
                "roles.ssm does not change roles.instance_profile: attach "
                "AmazonSSMManagedInstanceCore to that role"
            )
        if self.permissions_boundary and self.service and self.instance_profile:
            raise ValueError("roles.permissions_boundary has no effect: emrctl creates no roles")
        return self


class SecuritySpec(Spec):
    """EMR's security configuration; instances always require IMDSv2.

    At rest, S3 is encrypted with `storage.kms_key` or S3's own keys, and disks with `disk_key`.
    `in_transit` is an archive of certificates on S3; `emrctl certificates` creates one.
    `configuration` is the name of an existing security configuration to use instead.
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
            raise ValueError("security.disk_key requires at_rest: true")
        if self.configuration and (self.at_rest or self.in_transit):
            raise ValueError("security.configuration cannot be combined with at_rest or in_transit")
        return self


def without_kerberos(value: Any) -> Any:
    """Return `value`; raises ValueError if it has `kerberos`, which is not supported."""
    if isinstance(value, dict) and "kerberos" in value:
        raise ValueError(
            "kerberos is not supported: use IAM and security groups for access, and "
            "security.in_transit to encrypt traffic"
        )
    return value
