"""Translation of AWS errors and of recorded failures of EMR clusters."""

from __future__ import annotations

import pytest
from urllib3.exceptions import ProtocolError

from emrctl.aws import error_codes, errors
from emrctl.errors import CredentialsError, ProvisioningError, UnavailableError
from tests.recorded import refused

CLUSTER_FAILURES: dict[str, tuple[str, str]] = {
    "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ": ("no capacity for the instance type", "fleets"),
    "EC2 is out of capacity for m5.xlarge in us-east-1e": (
        "no capacity for the instance type",
        "zone",
    ),
    "INTERNAL_ERROR_SPOT_NO_CAPACITY_PRIMARY": ("too few spot instances", "on_timeout"),
    "INSTANCE_FLEET_TIMEOUT": ("too few spot instances", "more types"),
    "The requested instance type p4d.24xlarge is not supported in the requested Availability "
    "Zone.": ("does not support that instance type", "another type"),
    "Cannot find route to InternetGateway in main RouteTable rtb-1 for vpc vpc-1": (
        "no route to AWS",
        "internet gateway or NAT",
    ),
    "VALIDATION_ERROR_SUBNET_NOT_FROM_ONE_VPC": ("the subnet does not exist", "network.subnets"),
    "The subnet subnet-0a does not exist": ("the subnet does not exist", "region"),
    "VALIDATION_ERROR_INVALID_SSH_KEY_NAME": ("the key pair does not exist", "cluster.key_pair"),
    "Invalid InstanceProfile: pets-main-nodes.": ("cannot find the instance profile", "minute"),
    "Failed to authorize instance profile pets-main-nodes": ("instance profile", "minute"),
    "Service role arn:aws:iam::1:role/pets-main-service has insufficient EC2 permissions": (
        "EMR's service role lacks permissions",
        "for-use-with-amazon-emr-managed-policies=true",
    ),
    "EMR_DefaultRole is invalid": ("cannot use its service role", "roles.service"),
    "BlockPublicAccess is enabled and sg-1 allows 0.0.0.0/0": ("allows 0.0.0.0/0", "exceptions"),
    "Throttled from Amazon EC2 while launching cluster": ("quota of instances", "Service Quotas"),
    "You have exceeded your vCPU limit of 64": ("quota of instances", "fewer nodes"),
    "NO_SLAVE_LEFT": ("nodes were lost", "volume_gb"),
    "BOOTSTRAP_FAILURE_BA_DOWNLOAD_FAILED_PRIMARY": ("could not be downloaded", "cluster.buckets"),
    "On the master instance (i-1), bootstrap action 1 returned a non-zero return code": (
        "a bootstrap script failed",
        "Fix the script",
    ),
}


LAUNCH_ERRORS = {
    "InsufficientInstanceCapacity": ("no capacity for the instance type", "network.zone"),
    "SpotMaxPriceTooLow": ("below the current spot price", "bid_usd"),
    "MaxSpotInstanceCountExceeded": ("quota of spot instances", "L-34B43A08"),
    "Unsupported": ("does not support that instance type", "another type"),
    "InsufficientFreeAddressesInSubnet": ("too few free addresses", "network.cidr"),
    "VcpuLimitExceeded": ("a quota of the account", "Service Quotas"),
}


@pytest.mark.parametrize("code", LAUNCH_ERRORS)
def test_translate_launch_error_code_has_cause_and_hint(code: str) -> None:
    result = errors.translate(refused(code, "AWS's own words"), "launching worker-1")
    cause, hint = LAUNCH_ERRORS[code]
    assert cause in result.message
    assert "AWS's own words" in result.message
    assert hint in result.hint


@pytest.mark.parametrize("text", CLUSTER_FAILURES)
def test_cluster_failure_known_message_has_cause_and_hint(text: str) -> None:
    result = error_codes.cluster_failure(text)
    assert result is not None
    cause, hint = CLUSTER_FAILURES[text]
    assert cause in result[0]
    assert hint in result[1]


def test_cluster_failure_unknown_message_returns_none() -> None:
    assert error_codes.cluster_failure("Terminated by user request") is None


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("ExpiredTokenException", CredentialsError),
        ("Client.RequestLimitExceeded", UnavailableError),
        ("VcpuLimitExceeded", errors.RejectedRequestError),
        ("UnknownCode", errors.RejectedRequestError),
    ],
)
def test_translate_error_code_returns_error_class(
    code: str, family: type[ProvisioningError]
) -> None:
    error = errors.translate(refused(code, "its words"), "looking")
    assert type(error) is family
    assert "its words" in str(error)
    assert error.hint


def test_error_text_without_message_returns_code() -> None:
    assert errors.error_text(refused("Odd", "")) == "Odd"


def test_is_denied_only_for_missing_permissions() -> None:
    assert errors.is_denied(refused("AccessDenied"))
    assert not errors.is_denied(refused("ExpiredToken"))
    assert not errors.is_denied(refused("AccessDenied", "MultiFactorAuthPresent is false"))
    assert not errors.is_denied(ValueError("none of AWS's"))


def test_translated_raises_emrctl_error() -> None:
    text = "doing this: AWS throttled the request"
    with pytest.raises(ProvisioningError, match=text), errors.translated("doing this"):
        raise refused("SlowDown")


def test_translated_interrupted_error_response_is_unavailable_error() -> None:
    text = "reading: the connection to AWS was interrupted"
    with pytest.raises(UnavailableError, match=text), errors.translated("reading"):
        raise ProtocolError("Response ended prematurely")
