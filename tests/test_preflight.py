"""Preflight on accounts of recorded answers: a healthy one, and each thing that can be wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore import exceptions as boto

from emrctl import preflight
from emrctl import target as targets
from emrctl.errors import CredentialsError, NotFoundError, ProvisioningError, SpecError
from emrctl.preflight import Finding
from emrctl.specs import ProjectSpec
from emrctl.target import Target
from tests.recorded import Answer, Recorded, refused

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
MANAGED = "for-use-with-amazon-emr-managed-policies"
NO_ROLE = refused("NoSuchEntity", "no such role", 404)
TRUST = "%7B%22Service%22%3A%22elasticmapreduce.amazonaws.com%22%7D"


def _offerings(asked: Mapping[str, Any]) -> Any:
    zones = ("us-east-1a", "us-east-1b")
    types = asked["Filters"][0]["Values"]
    items = [
        {"InstanceType": name, "LocationType": "availability-zone", "Location": zone}
        for name in types
        for zone in zones
    ]
    return {"InstanceTypeOfferings": items}


def _subnet(**other: Any) -> dict[str, Any]:
    base = {
        "SubnetId": "subnet-1",
        "VpcId": "vpc-1",
        "AvailabilityZone": "us-east-1a",
        "AvailableIpAddressCount": 250,
        "Tags": [{"Key": MANAGED, "Value": "true"}],
    }
    return base | other


def _role(asked: Mapping[str, Any]) -> Any:
    if asked["RoleName"].startswith("AWSServiceRole"):
        return {"Role": _named(asked["RoleName"])}
    return NO_ROLE


def _named(name: str, **other: Any) -> dict[str, Any]:
    import datetime as dt

    return {
        "RoleName": name,
        "RoleId": "AROA123456789012345",
        "Path": "/",
        "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
        "CreateDate": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "AssumeRolePolicyDocument": TRUST,
    } | other


def _blocked(*, on: bool = True, ranges: tuple[tuple[int, int], ...] = ((22, 22),)) -> Any:
    import datetime as dt

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


def _igw(destination: str = "0.0.0.0/0", gateway: str = "igw-1") -> Any:
    route = {"DestinationCidrBlock": destination, "GatewayId": gateway}
    return {"RouteTables": [{"Routes": [route]}]}


def _types(*names: str) -> Any:
    return {"SupportedInstanceTypes": [{"Type": name} for name in names]}


HEALTHY: dict[str, Answer] = {
    "GetCallerIdentity": {"Account": ACCOUNT, "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/dev/me"},
    "DescribeRegions": {"Regions": [{"RegionName": "us-east-1", "OptInStatus": "opted-in"}]},
    "DescribeInstanceTypeOfferings": _offerings,
    "ListReleaseLabels": {"ReleaseLabels": ["emr-7.6.0", "emr-7.5.0"]},
    "ListSupportedInstanceTypes": _types("m5.xlarge", "r5.xlarge", "g5.xlarge", "m6g.xlarge"),
    "GetServiceQuota": {"Quota": {"Value": 64.0}},
    "GetAWSDefaultServiceQuota": {"Quota": {"Value": 5.0}},
    "DescribeInstances": {"Reservations": []},
    "DescribeVpcs": {"Vpcs": []},
    "DescribeSubnets": {"Subnets": [_subnet()]},
    "DescribeRouteTables": _igw(),
    "DescribeVpcAttribute": {
        "EnableDnsSupport": {"Value": True},
        "EnableDnsHostnames": {"Value": True},
    },
    "GetBlockPublicAccessConfiguration": _blocked(),
    "GetRole": _role,
    "DescribeKeyPairs": {"KeyPairs": [{"KeyName": "mine"}]},
    "HeadBucket": refused("404", "Not Found", 404),
    "HeadObject": {},
}


@pytest.fixture(scope="module")
def _clients() -> Iterator[None]:
    """boto3's clients are made once for all tests here, and for these alone."""
    for cache in (targets._client, targets._session):
        cache.cache_clear()
    yield
    for cache in (targets._client, targets._session):
        cache.cache_clear()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, _clients: None) -> Recorded:
    """A healthy account, whose answers a test may change."""
    found = Recorded(HEALTHY)
    # A function, and so a method: an object that can be called would not get the client.
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", found.answer)
    return found


TARGET = Target(kind="aws", region="us-east-1")


def _project(storage: Any = None, **cluster: Any) -> ProjectSpec:
    document = {"project": "pets", "target": "aws", "cluster": cluster, "storage": storage or {}}
    return ProjectSpec.model_validate(document)


def _errors(**cluster: Any) -> list[Finding]:
    found = preflight.check(_project(**cluster), TARGET)
    return [item for item in found if item.severity == "error"]


def test_a_healthy_account_has_nothing_to_say(aws: Recorded) -> None:
    assert preflight.check(_project(), TARGET) == []
    assert preflight.ready(_project(), TARGET) == _project()


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


def _all_there(aws: Recorded) -> None:
    import datetime as dt

    profile = {
        "InstanceProfileName": "EMR_EC2_DefaultRole",
        "InstanceProfileId": "AIPA1234567890123456",
        "Path": "/",
        "Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/EMR_EC2_DefaultRole",
        "CreateDate": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "Roles": [_named("EMR_EC2_DefaultRole")],
    }
    aws.answers |= {
        "GetRole": lambda asked: {"Role": _named(asked["RoleName"])},
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


def test_all_that_a_spec_may_name_is_looked_up(aws: Recorded) -> None:
    _all_there(aws)
    assert preflight.check(_project(**HARD), TARGET) == []
    seen = {operation for operation, _ in aws.calls}
    assert seen >= {"DescribeKey", "DescribeImages", "GetInstanceProfile", "HeadObject"}


def _instances(count: int, **other: Any) -> dict[str, Any]:
    one = {"InstanceType": "m5.4xlarge", "CpuOptions": {"CoreCount": 8, "ThreadsPerCore": 2}}
    return {"Reservations": [{"Instances": [one | other] * count}]}


# What is asked for, what AWS answers, and what is said: words of the finding and of its hint.
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
        "not switched us-east-1 on",
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
            "ListSupportedInstanceTypes": _types("m5.xlarge", "p3.2xlarge"),
        },
        "us-east-1 has no p3.2xlarge at all",
        "Take another type: ",
    ),
    "type not in the zone": (
        {"network": {"zone": "us-east-1e"}},
        {},
        "us-east-1e has no m5.xlarge",
        "us-east-1a, us-east-1b: set network.zone",
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
        "emr-7.5.0 does not run on g4dn.xlarge",
        "later release",
    ),
    "quota": (
        {},
        {"DescribeInstances": _instances(4)},
        "12 vCPUs of standard instances on demand are wanted, and 0 of the account's 64",
        "--quota-code L-1216C47A --desired-value 76",
    ),
    "spot quota": (
        {"core": {"count": 20, "bid_usd": 0.1}},
        {},
        "80 vCPUs of standard instances spot",
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
        "250 free addresses, and the cluster may take 301",
        "larger subnet",
    ),
    "subnet untagged": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
        {"DescribeSubnets": {"Subnets": [_subnet(Tags=[])]}},
        "subnet-1 lacks the tag",
        f"Key={MANAGED},Value=true",
    ),
    "subnet without a way out": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
        {"DescribeRouteTables": _igw("10.0.0.0/16", "local")},
        "no route to an internet gateway",
        "network.private",
    ),
    "private subnet without S3": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1", "private": True}},
        {"DescribeRouteTables": {"RouteTables": []}},
        "no way to S3",
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
        "There are mine",
    ),
    "role taken": (
        {},
        {"GetRole": lambda asked: {"Role": _named(asked["RoleName"])}},
        "'pets-main-service' exists already",
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
        {"GetRole": {"Role": _named("x", AssumeRolePolicyDocument="{}")}},
        "may not take the role 'mine'",
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
        "somebody else has the bucket name pets-emrctl-123456789012-us-east-1",
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
        "the account's, but not emrctl's",
        "import",
    ),
    "script gone": (
        {"bootstrap": ["s3://elsewhere/x.sh"]},
        {"HeadObject": refused("404", "Not Found", 404)},
        "the bootstrap script s3://elsewhere/x.sh is not there",
        "address",
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


@pytest.mark.parametrize("name", WRONG)
def test_what_would_fail_is_found_with_what_to_do(aws: Recorded, name: str) -> None:
    cluster, answers, what, hint = WRONG[name]
    aws.answers |= answers
    found = _errors(**cluster)
    assert any(what in item.what and hint in item.hint for item in found), found
    with pytest.raises(ProvisioningError, match="nothing was made"):
        preflight.ready(_project(**cluster), TARGET)


def test_our_own_things_are_no_obstacle(aws: Recorded) -> None:
    mine = [
        {"Key": "emrctl:project", "Value": "pets"},
        {"Key": "emrctl:stack", "Value": "pets-main"},
    ]
    aws.answers |= {
        "DescribeInstances": _instances(9, Tags=mine),
        "DescribeVpcs": {"Vpcs": [{"VpcId": f"vpc-{n}", "Tags": mine} for n in range(64)]},
        "GetRole": lambda asked: {"Role": _named(asked["RoleName"], Tags=mine)},
        "HeadBucket": {"BucketRegion": "us-east-1"},
        "GetBucketTagging": {"TagSet": mine},
    }
    assert preflight.check(_project(), TARGET) == []


WARNED: dict[str, tuple[dict[str, Any], dict[str, Answer], str]] = {
    "block off": ({}, {"GetBlockPublicAccessConfiguration": _blocked(on=False)}, "EMR.2"),
    "first cluster": ({}, {"GetRole": NO_ROLE}, "AWSServiceRoleForEMRCleanup"),
    "first spot": ({"core": {"bid_usd": 0.1}}, {"GetRole": NO_ROLE}, "AWSServiceRoleForEC2Spot"),
    "root": (
        {},
        {"GetCallerIdentity": {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}},
        "root user",
    ),
    "scarce addresses": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}},
        {"DescribeSubnets": {"Subnets": [_subnet(AvailableIpAddressCount=4)]}},
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
        "may not look at the bucket open-data",
    ),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_may_surprise_is_a_warning(
    aws: Recorded, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, answers, words = WARNED[name]
    aws.answers |= answers
    found = preflight.check(_project(**cluster), TARGET)
    assert {item.severity for item in found} == {"warning"}
    assert any(words in item.what and item.hint for item in found)
    with caplog.at_level(logging.WARNING):
        preflight.ready(_project(**cluster), TARGET)
    assert words in caplog.text


DENIED = refused("UnauthorizedOperation", "not authorized to perform: ec2:DescribeVpcs on it", 403)


@pytest.mark.parametrize("operation", sorted(set(HEALTHY) - {"GetCallerIdentity", "HeadBucket"}))
def test_what_may_not_be_looked_at_is_a_warning(aws: Recorded, operation: str) -> None:
    cluster = {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}, "key_pair": "mine"}
    cluster |= {"bootstrap": ["s3://elsewhere/x.sh"]}
    for wanted in ({}, cluster):
        aws.answers[operation] = DENIED
        found = preflight.check(_project(**wanted), TARGET)
        assert {item.severity for item in found} <= {"warning"}
        aws.answers[operation] = HEALTHY[operation]


# What ends everything: AWS's error, our family, words of the message and of the hint.
ENDS: dict[str, tuple[Exception, type[Exception], str, str]] = {
    "expired": (
        refused("ExpiredToken", "The security token included in the request is expired"),
        CredentialsError,
        "the session has expired",
        "aws sso login",
    ),
    "unknown key": (
        refused("InvalidClientTokenId"),
        CredentialsError,
        "does not know these keys",
        "AWS_PROFILE",
    ),
    "clock": (refused("SignatureDoesNotMatch"), CredentialsError, "clock is off", "date -u"),
    "second factor": (
        refused("AccessDenied", "explicit deny: aws:MultiFactorAuthPresent"),
        CredentialsError,
        "second factor (MFA)",
        "get-session-token",
    ),
    "wrong second factor": (
        refused("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass"),
        CredentialsError,
        "second factor (MFA)",
        "mfa_serial",
    ),
    "single sign-on over": (
        boto.UnauthorizedSSOTokenError(),
        CredentialsError,
        "single sign-on session is missing or over",
        "aws sso login",
    ),
    "single sign-on token": (
        boto.TokenRetrievalError(provider="sso", error_msg="expired"),
        CredentialsError,
        "single sign-on",
        "aws sso login",
    ),
    "nobody": (boto.NoCredentialsError(), CredentialsError, "no AWS credentials", "target: local"),
    "no profile": (
        boto.ProfileNotFound(profile="pets"),
        CredentialsError,
        "no such profile",
        "list-profiles",
    ),
    "role": (
        boto.CredentialRetrievalError(provider="assume-role", error_msg="no"),
        CredentialsError,
        "could not be had",
        "role_arn",
    ),
    "throttled": (
        refused("ThrottlingException", "Rate exceeded"),
        ProvisioningError,
        "asks for fewer calls",
        "Wait a minute",
    ),
    "no network": (
        boto.EndpointConnectionError(endpoint_url="https://sts"),
        ProvisioningError,
        "cannot be reached",
        "HTTPS_PROXY",
    ),
    "proxy": (
        boto.SSLError(endpoint_url="https://sts", error=OSError("self-signed")),
        ProvisioningError,
        "certificate",
        "AWS_CA_BUNDLE",
    ),
    "AWS is down": (
        refused("ServiceUnavailable", status=503),
        ProvisioningError,
        "failed on its side",
        "Wait a moment",
    ),
    "region is off": (refused("OptInRequired"), Exception, "not switched this region", "`region`"),
}


@pytest.mark.parametrize("operation", ["GetCallerIdentity", "DescribeInstances"])
@pytest.mark.parametrize("name", ENDS)
def test_an_aws_that_does_not_answer_is_explained(aws: Recorded, name: str, operation: str) -> None:
    failure, family, what, hint = ENDS[name]
    aws.answers[operation] = failure
    with pytest.raises(family) as caught:
        preflight.ready(_project(), TARGET)
    assert what in str(caught.value)
    assert hint in str(getattr(caught.value, "hint", ""))


def test_a_denied_caller_is_told_what_was_denied(aws: Recorded) -> None:
    aws.answers["GetCallerIdentity"] = refused(
        "AccessDenied", "User: x is not authorized to perform: sts:GetCallerIdentity"
    )
    with pytest.raises(CredentialsError, match=r"may not do that \(sts:GetCallerIdentity\)"):
        preflight.check(_project(), TARGET)


def test_rules_that_nobody_waived_are_named(aws: Recorded) -> None:
    project = _project(storage={"versioning": False})
    found = {item.what: item.hint for item in preflight.check(project, TARGET)}
    assert any(
        "CKV_AWS_21" in what and "waivers: {CKV_AWS_21" in hint for what, hint in found.items()
    )
    reasons = {"CKV_AWS_21": "runs are never written twice", "S3.14": "as for CKV_AWS_21 above"}
    waived = project.model_copy(update={"waivers": reasons})
    assert preflight.check(waived, TARGET) == []
    odd = _project().model_copy(update={"waivers": {"CKV_NONE": "there is no such rule"}})
    (warned,) = preflight.check(odd, TARGET)
    assert "CKV_NONE" in warned.what


def test_a_group_that_emr_would_refuse_is_named(
    aws: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emrctl.preflight.declared._WORLD", (None, "0.0.0.0/0"))  # all rules open
    found = {item.what for item in _errors()}
    assert any("refuses primary-from-core" in what for what in found)
    aws.answers["GetBlockPublicAccessConfiguration"] = _blocked(ranges=((0, 65535),))
    assert _errors() == []


def test_errors_come_first_and_are_told_together() -> None:
    findings = [
        Finding(about="a", severity="error", what="no key", hint="Make one."),
        Finding(about="b", severity="error", what="no role", hint="Make it."),
        Finding(about="c", severity="warning", what="odd", hint="Mind."),
    ]
    with pytest.raises(ProvisioningError) as caught:
        preflight.refuse(findings)
    assert str(caught.value) == "nothing was made: no key\n  also: no role. Make it."
    assert caught.value.hint == "Make one."
    preflight.refuse(findings[2:])


# --- subnets by tag -------------------------------------------------------------------------------

BY_TAG: dict[str, Any] = {"network": {"subnets": {"tier": "data"}}}
FLEET: dict[str, Any] = {"fleets": {"core": {"types": [{}], "on_demand": 1}}}


def test_subnets_and_vpc_are_found_by_their_tags(aws: Recorded) -> None:
    spec = {"network": {"subnets": {"tier": "data"}, "vpc": {"Name": "lab"}}}
    aws.answers["DescribeVpcs"] = {"Vpcs": [{"VpcId": "vpc-1"}]}
    found = preflight.ready(_project(**spec), TARGET).cluster.network
    assert (found.subnets, found.vpc) == (("subnet-1",), "vpc-1")
    asked = next(asked for operation, asked in aws.calls if operation == "DescribeSubnets")
    assert asked["Filters"] == [
        {"Name": "tag:tier", "Values": ["data"]},
        {"Name": "vpc-id", "Values": ["vpc-1"]},
    ]


def test_the_vpc_is_that_of_the_subnets(aws: Recorded) -> None:
    found = preflight.ready(_project(network={"subnets": "subnet-1"}), TARGET)
    assert found.cluster.network.vpc == "vpc-1"


def test_fleets_take_all_that_carry_the_tags_and_groups_one(aws: Recorded) -> None:
    both = [_subnet(SubnetId="subnet-2"), _subnet()]
    aws.answers["DescribeSubnets"] = {"Subnets": both}
    found = preflight.ready(_project(**BY_TAG, **FLEET), TARGET).cluster.network
    assert found.subnets == ("subnet-1", "subnet-2")
    with pytest.raises(SpecError, match="2 subnets"):
        preflight.ready(_project(**BY_TAG), TARGET)


def test_tags_that_nothing_carries_are_told(aws: Recorded) -> None:
    aws.answers["DescribeSubnets"] = {"Subnets": []}
    with pytest.raises(NotFoundError, match="no subnet in us-east-1 is or carries tier=data"):
        preflight.ready(_project(**BY_TAG), TARGET)
    spec = {"network": {"subnets": {"tier": "data"}, "vpc": {"Name": "lab"}}}
    with pytest.raises(NotFoundError, match=r"no VPC .* Name=lab"):
        preflight.ready(_project(**spec), TARGET)


def test_subnets_of_two_vpcs_are_refused(aws: Recorded) -> None:
    both = [_subnet(SubnetId="subnet-2", VpcId="vpc-2"), _subnet()]
    aws.answers["DescribeSubnets"] = {"Subnets": both}
    with pytest.raises(SpecError, match="several VPCs: vpc-1, vpc-2"):
        preflight.ready(_project(**BY_TAG, **FLEET), TARGET)
