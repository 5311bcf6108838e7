"""Preflight when AWS denies access or does not answer."""

from __future__ import annotations

import pytest
from botocore import exceptions as boto

from emrctl.errors import CredentialsError, ProvisioningError
from emrctl.provision import preflight
from tests.provision.preflight.accounts import HEALTHY, TARGET, pets
from tests.recorded import Recorded, refused

DENIED = refused("UnauthorizedOperation", "not authorized to perform: ec2:DescribeVpcs on it", 403)


@pytest.mark.parametrize("operation", sorted(set(HEALTHY) - {"GetCallerIdentity", "HeadBucket"}))
def test_run_checks_denied_operation_is_warning(aws: Recorded, operation: str) -> None:
    cluster = {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}, "key_pair": "mine"}
    cluster |= {"bootstrap": ["s3://elsewhere/x.sh"]}
    for wanted in ({}, cluster):
        aws.answers[operation] = DENIED
        found = preflight.run_checks(pets(**wanted), TARGET)
        assert {item.severity for item in found} <= {"warning"}
        aws.answers[operation] = HEALTHY[operation]


# AWS error, error class, parts of the message and of the hint.
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
        "does not know the access key",
        "AWS_PROFILE",
    ),
    "clock": (refused("SignatureDoesNotMatch"), CredentialsError, "clock is wrong", "date -u"),
    "second factor": (
        refused("AccessDenied", "explicit deny: aws:MultiFactorAuthPresent"),
        CredentialsError,
        "multi-factor authentication (MFA)",
        "get-session-token",
    ),
    "wrong second factor": (
        refused("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass"),
        CredentialsError,
        "multi-factor authentication (MFA)",
        "mfa_serial",
    ),
    "single sign-on over": (
        boto.UnauthorizedSSOTokenError(),
        CredentialsError,
        "single sign-on session is missing or has expired",
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
        "the profile is not in",
        "list-profiles",
    ),
    "role": (
        boto.CredentialRetrievalError(provider="assume-role", error_msg="no"),
        CredentialsError,
        "could not load",
        "role_arn",
    ),
    "throttled": (
        refused("ThrottlingException", "Rate exceeded"),
        ProvisioningError,
        "AWS throttled",
        "Wait a minute",
    ),
    "no network": (
        boto.EndpointConnectionError(endpoint_url="https://sts"),
        ProvisioningError,
        "cannot connect",
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
        "internal error",
        "Wait a moment",
    ),
    "region is off": (refused("OptInRequired"), Exception, "the region is not enabled", "`region`"),
}


@pytest.mark.parametrize("operation", ["GetCallerIdentity", "DescribeInstances"])
@pytest.mark.parametrize("name", ENDS)
def test_prepare_translates_aws_errors(aws: Recorded, name: str, operation: str) -> None:
    failure, family, what, hint = ENDS[name]
    aws.answers[operation] = failure
    with pytest.raises(family) as caught:
        preflight.prepare(pets(), TARGET)
    assert what in str(caught.value)
    assert hint in str(getattr(caught.value, "hint", ""))


def test_run_checks_denied_caller_names_action(aws: Recorded) -> None:
    aws.answers["GetCallerIdentity"] = refused(
        "AccessDenied", "User: x is not authorized to perform: sts:GetCallerIdentity"
    )
    with pytest.raises(CredentialsError, match=r"is not authorized \(sts:GetCallerIdentity\)"):
        preflight.run_checks(pets(), TARGET)
