"""What EMR says of a cluster that gave up, recorded, and what that means."""

from __future__ import annotations

import pytest

from emrctl.aws import error_codes, errors
from emrctl.errors import CredentialsError, ProvisioningError
from tests.recorded import refused

GAVE_UP: dict[str, tuple[str, str]] = {
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


LAUNCH = {
    "InsufficientInstanceCapacity": ("no capacity for the instance type", "network.zone"),
    "SpotMaxPriceTooLow": ("below the current spot price", "bid_usd"),
    "MaxSpotInstanceCountExceeded": ("quota of spot instances", "L-34B43A08"),
    "Unsupported": ("does not support that instance type", "another type"),
    "InsufficientFreeAddressesInSubnet": ("too few free addresses", "network.cidr"),
    "VcpuLimitExceeded": ("a quota of the account", "Service Quotas"),
}


@pytest.mark.parametrize("code", LAUNCH)
def test_instances_that_are_not_launched_have_a_cause_and_a_next_step(code: str) -> None:
    found = errors.translate(refused(code, "AWS's own words"), "launching worker-1")
    cause, hint = LAUNCH[code]
    assert cause in found.message
    assert "AWS's own words" in found.message
    assert hint in found.hint


@pytest.mark.parametrize("said", GAVE_UP)
def test_a_cluster_s_last_words_have_a_cause_and_a_next_step(said: str) -> None:
    found = error_codes.cluster_failure(said)
    assert found is not None
    cause, hint = GAVE_UP[said]
    assert cause in found[0]
    assert hint in found[1]


def test_words_that_nobody_knows_are_left_as_they_are() -> None:
    assert error_codes.cluster_failure("Terminated by user request") is None


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("ExpiredTokenException", CredentialsError),
        ("Client.RequestLimitExceeded", errors.RejectedRequestError),
        ("VcpuLimitExceeded", errors.RejectedRequestError),
        ("UnknownCode", errors.RejectedRequestError),
    ],
)
def test_whatever_aws_answers_becomes_one_of_ours(
    code: str, family: type[ProvisioningError]
) -> None:
    error = errors.translate(refused(code, "its words"), "looking")
    assert type(error) is family
    assert "its words" in str(error)
    assert error.hint


def test_an_answer_without_words_is_told_by_its_code() -> None:
    assert errors.error_text(refused("Odd", "")) == "Odd"


def test_what_is_denied_is_not_who_is_unknown() -> None:
    assert errors.is_denied(refused("AccessDenied"))
    assert not errors.is_denied(refused("ExpiredToken"))
    assert not errors.is_denied(refused("AccessDenied", "MultiFactorAuthPresent is false"))
    assert not errors.is_denied(ValueError("none of AWS's"))


def test_errors_on_the_way_leave_as_ours() -> None:
    said = "doing this: AWS throttled the request"
    with pytest.raises(ProvisioningError, match=said), errors.translated("doing this"):
        raise refused("SlowDown")
