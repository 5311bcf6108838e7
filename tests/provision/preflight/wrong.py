"""Specs and AWS answers with their expected findings."""

from __future__ import annotations

import io
from typing import Any

from tests.provision.preflight.accounts import (
    ACCOUNT,
    KEY,
    MANAGED,
    NO_ROLE,
    blocked,
    igw,
    instances,
    named,
    subnet,
    types,
)
from tests.recorded import Answer, refused

# Cluster keys, AWS answers, parts of the finding and of its hint.
WRONG: dict[str, tuple[dict[str, Any], dict[str, Answer], str, str]] = {
    "no such region": (
        {},
        {"DescribeRegions": refused("InvalidParameterValue")},
        "no region us-east-1",
        "`region`",
    ),
    "region off": (
        {},
        {"DescribeRegions": {"Regions": [{"OptInStatus": "not-opted-in"}]}},
        "has not enabled region us-east-1",
        "Enable it",
    ),
    "type nowhere": (
        {"core": {"type": "p3.2xlarge"}},
        {
            "DescribeInstanceTypeOfferings": lambda asked: {
                "InstanceTypeOfferings": [
                    {"InstanceType": name, "Location": "us-east-1a"}
                    for name in asked["Filters"][0]["Values"]
                    if name != "p3.2xlarge"
                ]
            },
            "ListSupportedInstanceTypes": types("m5.xlarge", "p3.2xlarge"),
        },
        "us-east-1 does not offer p3.2xlarge",
        "Use another type: ",
    ),
    "type not in the zone": (
        {"network": {"zone": "us-east-1e"}},
        {},
        "us-east-1e does not offer m5.xlarge",
        "us-east-1a, us-east-1b; set network.zone",
    ),
    "release unknown": (
        {"release": "emr-7.99.0"},
        {},
        "no release emr-7.99.0",
        "emr-7.5.0",
    ),
    "release without the type": (
        {"core": {"type": "g4dn.xlarge"}},
        {},
        "emr-7.5.0 does not support g4dn.xlarge",
        "later release",
    ),
    "quota": (
        {},
        {"DescribeInstances": instances(4)},
        "needs 12 vCPUs of on-demand standard instances, and 0 of the account's 64",
        "--quota-code L-1216C47A --desired-value 76",
    ),
    "spot quota": (
        {"core": {"count": 20, "bid_usd": 0.1}},
        {},
        "80 vCPUs of spot standard instances",
        "L-34B43A08",
    ),
    "VPCs": (
        {},
        {"DescribeVpcs": {"Vpcs": [{"VpcId": f"vpc-{n}"} for n in range(64)]}},
        "has 64 VPCs",
        "network.subnets",
    ),
    "subnet gone": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
        {"DescribeSubnets": refused("InvalidSubnetID.NotFound")},
        "subnet-1: not all of them are in us-east-1",
        "network.subnets",
    ),
    "subnet in another VPC": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-2"}},
        {},
        "subnet-1 is in vpc-1, not in vpc-2",
        "network.vpc",
    ),
    "subnet full": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}, "scaling": {"maximum": 300}},
        {},
        "250 free addresses, and the cluster may have 301",
        "larger subnet",
    ),
    "subnet untagged": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
        {"DescribeSubnets": {"Subnets": [subnet(Tags=[])]}},
        "subnet-1 lacks the tag",
        f"Key={MANAGED},Value=true",
    ),
    "subnet without a way out": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
        {"DescribeRouteTables": igw("10.0.0.0/16", "local")},
        "no route to an internet gateway",
        "network.private",
    ),
    "private subnet without S3": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1", "private": True}},
        {"DescribeRouteTables": {"RouteTables": []}},
        "no route to S3",
        "gateway endpoint",
    ),
    "names off": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
        {
            "DescribeVpcAttribute": {
                "EnableDnsSupport": {"Value": True},
                "EnableDnsHostnames": {"Value": False},
            }
        },
        "enableDnsHostnames off",
        "--enable-dns-hostnames",
    ),
    "key pair": (
        {"key_pair": "nobody"},
        {
            "DescribeKeyPairs": lambda asked: (
                refused("InvalidKeyPair.NotFound")
                if "KeyNames" in asked
                else {"KeyPairs": [{"KeyName": "mine"}]}
            )
        },
        "no key pair 'nobody'",
        "Existing key pairs: mine",
    ),
    "role taken": (
        {},
        {"GetRole": lambda asked: {"Role": named(asked["RoleName"])}},
        "'pets-main-service' exists and",
        "cluster.name",
    ),
    "no service role": (
        {"roles": {"service": "EMR_DefaultRole"}},
        {},
        "no role 'EMR_DefaultRole'",
        "create-default-roles",
    ),
    "a role of somebody else": (
        {"roles": {"service": "mine"}},
        {"GetRole": {"Role": named("x", AssumeRolePolicyDocument="{}")}},
        "may not assume the role 'mine'",
        "assume it",
    ),
    "no profile": (
        {"roles": {"instance_profile": "mine"}},
        {"GetInstanceProfile": NO_ROLE},
        "no instance profile 'mine'",
        "list-instance-profiles",
    ),
    "no boundary": (
        {"roles": {"permissions_boundary": f"arn:aws:iam::{ACCOUNT}:policy/limit"}},
        {"GetPolicy": NO_ROLE},
        "no policy arn:aws:iam",
        "permissions_boundary",
    ),
    "bucket taken": (
        {},
        {"HeadBucket": refused("403", "Forbidden", 403)},
        "bucket name pets-emrctl-123456789012-us-east-1 is taken",
        "storage.bucket",
    ),
    "bucket elsewhere": (
        {},
        {"HeadBucket": refused("301", "Moved", 301, **{"x-amz-bucket-region": "eu-west-1"})},
        "is in eu-west-1",
        "region: eu-west-1",
    ),
    "bucket not ours": (
        {},
        {
            "HeadBucket": {"BucketRegion": "us-east-1"},
            "GetBucketTagging": refused("NoSuchTagSet", status=404),
        },
        "exists and was not created by emrctl",
        "import",
    ),
    "script gone": (
        {"bootstrap": ["s3://elsewhere/x.sh"]},
        {"HeadObject": refused("404", "Not Found", 404)},
        "the bootstrap script s3://elsewhere/x.sh does not exist",
        "correct the URI",
    ),
    "script without an interpreter": (
        {"bootstrap": ["s3://elsewhere/x.sh"]},
        {"GetObject": lambda _: {"Body": io.BytesIO(b"echo 1\n")}},
        "s3://elsewhere/x.sh:1: the first line of a bootstrap script must be an interpreter",
        "upload it again",
    ),
    "script with CR and LF": (
        {"bootstrap": ["s3://elsewhere/x.sh"]},
        {"GetObject": lambda _: {"Body": io.BytesIO(b"#!/bin/bash\necho 1\r\n")}},
        "s3://elsewhere/x.sh:2: the line ends with CR and LF",
        "upload it again",
    ),
    "further bucket gone": (
        {"buckets": ["open-data"]},
        {},
        "no bucket open-data",
        "cluster.buckets",
    ),
    "key off": (
        {"security": {"log_key": KEY}},
        {"DescribeKey": {"KeyMetadata": {"KeyId": "k", "KeyState": "PendingDeletion"}}},
        "is PendingDeletion",
        "Enable it",
    ),
    "key gone": (
        {"security": {"log_key": KEY}},
        {"DescribeKey": refused("NotFoundException")},
        f"no key {KEY}",
        "security.log_key",
    ),
    "image gone": (
        {"ami": "ami-1"},
        {"DescribeImages": refused("InvalidAMIID.NotFound")},
        "no ami-1",
        "one region",
    ),
    "image of another kind": (
        {"ami": "ami-1"},
        {"DescribeImages": {"Images": [{"Architecture": "arm64"}]}},
        "ami-1 is for arm64, and m5.xlarge is x86_64",
        "types of arm64",
    ),
    "no security configuration": (
        {"security": {"configuration": "theirs"}},
        {"DescribeSecurityConfiguration": refused("InvalidRequestException")},
        "no security configuration 'theirs'",
        "list-security-configurations",
    ),
}


WARNED: dict[str, tuple[dict[str, Any], dict[str, Answer], str]] = {
    "other Spark": ({"spark": "4.0.2"}, {}, "EMR runs the release's Spark"),
    "block off": ({}, {"GetBlockPublicAccessConfiguration": blocked(on=False)}, "EMR.2"),
    "first cluster": ({}, {"GetRole": NO_ROLE}, "AWSServiceRoleForEMRCleanup"),
    "first spot": ({"core": {"bid_usd": 0.1}}, {"GetRole": NO_ROLE}, "AWSServiceRoleForEC2Spot"),
    "root": (
        {},
        {"GetCallerIdentity": {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}},
        "root user",
    ),
    "scarce addresses": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
        {"DescribeSubnets": {"Subnets": [subnet(AvailableIpAddressCount=4)]}},
        "4 free addresses",
    ),
    "an open private subnet": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1", "private": True}},
        {},
        "route to an internet gateway",
    ),
    "a bucket that is another's": (
        {"buckets": ["open-data"]},
        {
            "HeadBucket": lambda asked: (
                refused("404", "Not Found", 404)
                if asked["Bucket"].startswith("pets")
                else refused("403", "Forbidden", 403)
            )
        },
        "no access to the bucket open-data",
    ),
}
