"""AWS's services reached without leaving AWS."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from emrctl.spec import ProjectSpec
from stacks.sdk import ec2


@dataclass(frozen=True, kw_only=True)
class Where:
    """The subnet that endpoints get their addresses in, and the group that guards them."""

    vpc_id: pulumi.Input[str]
    subnet_id: pulumi.Input[str]
    group_id: pulumi.Input[str]


def storage(
    own: ec2.Vpc, region: str, table: ec2.RouteTable, marks: dict[str, str]
) -> ec2.VpcEndpoint:
    """S3's gateway endpoint, which costs nothing."""
    return ec2.VpcEndpoint(
        "s3",
        vpc_id=own.id,
        service_name=f"com.amazonaws.{region}.s3",
        vpc_endpoint_type="Gateway",
        route_table_ids=[table.id],
        tags=marks,
    )


def interfaces(
    project: ProjectSpec, region: str, where: Where, marks: dict[str, str]
) -> list[pulumi.Resource]:
    """An interface endpoint for each service that nodes without a public address need."""
    return [
        ec2.VpcEndpoint(
            f"endpoint-{service}",
            vpc_id=where.vpc_id,
            service_name=f"com.amazonaws.{region}.{service}",
            vpc_endpoint_type="Interface",
            private_dns_enabled=True,
            subnet_ids=[where.subnet_id],
            security_group_ids=[where.group_id],
            tags=marks | {"Name": f"{project.cluster_stack}-{service}"},
        )
        for service in project.endpoint_services
    ]
