from __future__ import annotations

import json
from typing import Any

import pytest

from emrctl.emulator.moto import bucket_policy

ACCOUNT = "123456789012"


def verdict(*statements: dict[str, Any], action: str = "s3:GetObject", **headers: str) -> str:
    request = bucket_policy.PolicyRequest(
        action=action,
        resource="arn:aws:s3:::pets/code/main.py",
        account=ACCOUNT,
        context=bucket_policy.context(headers, ACCOUNT),
    )
    return bucket_policy.evaluate(json.dumps({"Statement": list(statements)}), request)


def deny(**more: Any) -> dict[str, Any]:
    base = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::pets/*"}
    return base | more


def test_evaluate_secure_transport_allows_loopback() -> None:
    tls = {"Bool": {"aws:SecureTransport": "false"}}
    assert verdict(deny(Condition=tls)) == "neutral"
    assert verdict(deny(Condition={"Bool": {"aws:SecureTransport": True}})) == "denied"


def test_evaluate_deny_overrides_allow() -> None:
    assert verdict(deny(Effect="Allow"), deny()) == "denied"
    assert verdict(deny(Effect="Allow")) == "permitted"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"aws:PrincipalAccount": [ACCOUNT, "1"]}}, True),
        ({"StringNotEquals": {"aws:PrincipalAccount": ACCOUNT}}, False),
        ({"StringEqualsIgnoreCase": {"aws:PrincipalType": "ACCOUNT"}}, True),
        ({"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:root"}}, True),
        ({"StringLike": {"aws:PrincipalArn": "arn:aws:iam::[0-9]*:root"}}, False),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:ro?t"}}, True),
        ({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}}, True),
        ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.0/8"]}}, True),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.1/32"}}, False),
        ({"Null": {"aws:SourceVpce": "true"}}, True),
        ({"Null": {"aws:SourceVpce": "false"}}, False),
        ({"StringEquals": {"aws:SourceVpce": "vpce-1"}}, False),
        ({"StringEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}, True),
        ({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}, True),
        ({"NumericLessThan": {"s3:TlsVersion": 1.2}}, False),
        ({"NumericGreaterThanEquals": {"s3:TlsVersion": "1.2"}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00+00:00"}}, True),
        ({"DateLessThan": {"aws:EpochTime": "1577836800"}}, False),
        ({"StringEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}, True),
        ({"ForAnyValue:StringEquals": {"aws:PrincipalAccount": ACCOUNT}}, True),
        ({"Bool": {"aws:SecureTransport": "true", "aws:ViaAWSService": "true"}}, False),
        ({"SoundsLike": {"aws:PrincipalAccount": ACCOUNT}}, False),
    ],
)
def test_evaluate_conditions(condition: dict[str, Any], holds: bool) -> None:
    answer = verdict(deny(Condition=condition), **{"x-amz-server-side-encryption": "aws:kms"})
    assert (answer == "denied") == holds


@pytest.mark.parametrize(
    ("change", "applies"),
    [
        ({"Action": ["s3:PutObject", "s3:GET*"]}, True),
        ({"Action": "s3:PutObject"}, False),
        ({"NotAction": "s3:GetObject"}, False),
        ({"Resource": "arn:aws:s3:::pets/data/*"}, False),
        ({"NotResource": "arn:aws:s3:::pets/data/*"}, True),
        ({"Principal": {"AWS": ACCOUNT}}, True),
        ({"Principal": {"AWS": ["arn:aws:iam::123456789012:root"]}}, True),
        ({"Principal": {"AWS": "999999999999"}}, False),
        ({"Principal": {"Service": "elasticmapreduce.amazonaws.com"}}, False),
        ({"NotPrincipal": {"AWS": "999999999999"}}, True),
    ],
)
def test_evaluate_principals_actions_and_resources(change: dict[str, Any], applies: bool) -> None:
    statement = deny() | change
    if "NotAction" in change or "NotResource" in change or "NotPrincipal" in change:
        del statement[next(iter(change)).removeprefix("Not")]
    assert (verdict(statement) == "denied") == applies
