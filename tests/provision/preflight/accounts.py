"""Recorded answers of a healthy account, and specs to check against them."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping
from typing import Any

from emrctl.aws.target import Target
from emrctl.provision import preflight
from emrctl.provision.preflight.finding import PreflightFinding
from emrctl.spec import ProjectSpec
from tests.recorded import Answer, Recorded, refused

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
MANAGED = "for-use-with-amazon-emr-managed-policies"
NO_ROLE = refused("NoSuchEntity", "no such role", 404)
TRUST = "%7B%22Service%22%3A%22elasticmapreduce.amazonaws.com%22%7D"


def offerings(asked: Mapping[str, Any]) -> Any:
    zones = ("us-east-1a", "us-east-1b")
    types = asked["Filters"][0]["Values"]
    items = [
        {"InstanceType": name, "LocationType": "availability-zone", "Location": zone}
        for name in types
        for zone in zones
    ]
    return {"InstanceTypeOfferings": items}


def subnet(**other: Any) -> dict[str, Any]:
    base = {
        "SubnetId": "subnet-1",
        "VpcId": "vpc-1",
        "AvailabilityZone": "us-east-1a",
        "AvailableIpAddressCount": 250,
        "Tags": [{"Key": MANAGED, "Value": "true"}],
    }
    return base | other


def role(asked: Mapping[str, Any]) -> Any:
    if asked["RoleName"].startswith("AWSServiceRole"):
        return {"Role": named(asked["RoleName"])}
    return NO_ROLE


def named(name: str, **other: Any) -> dict[str, Any]:

    return {
        "RoleName": name,
        "RoleId": "AROA123456789012345",
        "Path": "/",
        "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
        "CreateDate": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "AssumeRolePolicyDocument": TRUST,
    } | other


def blocked(*, on: bool = True, ranges: tuple[tuple[int, int], ...] = ((22, 22),)) -> Any:

    permitted = [{"MinRange": low, "MaxRange": high} for low, high in ranges]
    return {
        "BlockPublicAccessConfiguration": {
            "BlockPublicSecurityGroupRules": on,
            "PermittedPublicSecurityGroupRuleRanges": permitted,
        },
        "BlockPublicAccessConfigurationMetadata": {
            "CreationDateTime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            "CreatedByArn": f"arn:aws:iam::{ACCOUNT}:root",
        },
    }


def igw(destination: str = "0.0.0.0/0", gateway: str = "igw-1") -> Any:
    route = {"DestinationCidrBlock": destination, "GatewayId": gateway}
    return {"RouteTables": [{"Routes": [route]}]}


def types(*names: str) -> Any:
    return {"SupportedInstanceTypes": [{"Type": name} for name in names]}


HEALTHY: dict[str, Answer] = {
    "GetCallerIdentity": {"Account": ACCOUNT, "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/dev/me"},
    "DescribeRegions": {"Regions": [{"RegionName": "us-east-1", "OptInStatus": "opted-in"}]},
    "DescribeInstanceTypeOfferings": offerings,
    "ListReleaseLabels": {"ReleaseLabels": ["emr-7.6.0", "emr-7.5.0"]},
    "ListSupportedInstanceTypes": types("m5.xlarge", "r5.xlarge", "g5.xlarge", "m6g.xlarge"),
    "GetServiceQuota": {"Quota": {"Value": 64.0}},
    "GetAWSDefaultServiceQuota": {"Quota": {"Value": 5.0}},
    "DescribeInstances": {"Reservations": []},
    "DescribeVpcs": {"Vpcs": []},
    "DescribeSubnets": {"Subnets": [subnet()]},
    "DescribeRouteTables": igw(),
    "DescribeVpcAttribute": {
        "EnableDnsSupport": {"Value": True},
        "EnableDnsHostnames": {"Value": True},
    },
    "GetBlockPublicAccessConfiguration": blocked(),
    "GetRole": role,
    "DescribeKeyPairs": {"KeyPairs": [{"KeyName": "mine"}]},
    "HeadBucket": refused("404", "Not Found", 404),
    "HeadObject": {},
    "GetObject": lambda _: {"Body": io.BytesIO(b"#!/bin/bash\n")},
}


TARGET = Target(kind="aws", region="us-east-1")


def pets(storage: Any = None, **cluster: Any) -> ProjectSpec:
    document = {"project": "pets", "target": "aws", "cluster": cluster, "storage": storage or {}}
    return ProjectSpec.model_validate(document)


def errors(**cluster: Any) -> list[PreflightFinding]:
    found = preflight.run_checks(pets(**cluster), TARGET)
    return [item for item in found if item.severity == "error"]


HARD: dict[str, Any] = {
    "network": {"subnets": ["subnet-1"], "vpc": "vpc-1"},
    "key_pair": "mine",
    "ami": "ami-1",
    "roles": {
        "service": "EMR_DefaultRole",
        "instance_profile": "EMR_EC2_DefaultRole",
    },
    "security": {"configuration": "theirs", "log_key": KEY},
    "buckets": ["open-data"],
    "bootstrap": ["s3://elsewhere/x.sh"],
}


def all_there(aws: Recorded) -> None:

    profile = {
        "InstanceProfileName": "EMR_EC2_DefaultRole",
        "InstanceProfileId": "AIPA1234567890123456",
        "Path": "/",
        "Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/EMR_EC2_DefaultRole",
        "CreateDate": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "Roles": [named("EMR_EC2_DefaultRole")],
    }
    aws.answers |= {
        "GetRole": lambda asked: {"Role": named(asked["RoleName"])},
        "GetInstanceProfile": {"InstanceProfile": profile},
        "DescribeImages": {"Images": [{"Architecture": "x86_64"}]},
        "DescribeSecurityConfiguration": {"Name": "theirs"},
        "DescribeKey": {"KeyMetadata": {"KeyId": "k", "KeyState": "Enabled"}},
        "HeadBucket": lambda asked: (
            refused("404", "Not Found", 404)
            if asked["Bucket"].startswith("pets")
            else {"BucketRegion": "us-east-1"}
        ),
    }


def instances(count: int, **other: Any) -> dict[str, Any]:
    one = {"InstanceType": "m5.4xlarge", "CpuOptions": {"CoreCount": 8, "ThreadsPerCore": 2}}
    return {"Reservations": [{"Instances": [one | other] * count}]}
