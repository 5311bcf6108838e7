"""Causes and hints of EMR cluster failures."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.aws import instance_types
from emrctl.clusters import emr


def _status(code: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {
        "State": "TERMINATED_WITH_ERRORS",
        "StateChangeReason": {"Code": code, "Message": message},
        "ErrorDetails": list(details),
    }


def _detail(code: str, message: str, **data: str) -> dict[str, Any]:
    facts = {key.replace("_", "-"): value for key, value in data.items()}
    return {"ErrorCode": code, "ErrorMessage": message, "ErrorData": [facts] if facts else []}


@pytest.mark.parametrize(
    ("status", "cause", "advice"),
    [
        (
            _status(
                "INTERNAL_ERROR",
                "EC2 is out of capacity for m5.xlarge.",
                _detail(
                    "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ",
                    "EC2 is out of capacity for m5.xlarge.",
                    instance_type="m5.xlarge",
                    availability_zone="us-east-1a",
                ),
            ),
            "no capacity for the instance type",
            "Alternatives to m5.xlarge in us-east-1a: m5a.xlarge",
        ),
        (
            _status("INTERNAL_ERROR", "EC2 is out of capacity for c5.2xlarge."),
            "no capacity for the instance type",
            "Alternatives to c5.2xlarge: c6i.2xlarge",
        ),
        (
            _status(
                "VALIDATION_ERROR",
                "The requested instance type r4.xlarge is not supported in the requested "
                "Availability Zone.",
                _detail(
                    "VALIDATION_ERROR_INSTANCE_TYPE_NOT_SUPPORTED",
                    "The requested instance type r4.xlarge is not supported in the requested "
                    "Availability Zone.",
                    instance_type="r4.xlarge",
                ),
            ),
            "does not support that instance type",
            "r5.xlarge",
        ),
        (
            _status(
                "VALIDATION_ERROR",
                "Cannot find route to InternetGateway in main RouteTable rtb-1 for vpc vpc-1",
            ),
            "the subnet has no route to AWS",
            "network.private",
        ),
        (
            _status("VALIDATION_ERROR", "The subnet subnet-1 does not exist."),
            "the subnet does not exist",
            "network.subnets",
        ),
        (
            _status("VALIDATION_ERROR", "Invalid InstanceProfile: arn:aws:iam::1:x."),
            "cannot find the instance profile (IAM",
            "again in a minute",
        ),
        (
            _status("VALIDATION_ERROR", "EMR_DefaultRole is invalid"),
            "cannot use its service role (IAM",
            "again in a minute",
        ),
        (
            _status(
                "VALIDATION_ERROR",
                "x",
                _detail("VALIDATION_ERROR_INVALID_SSH_KEY_NAME", "The key mine does not exist"),
            ),
            "the key pair does not exist",
            "cluster.key_pair",
        ),
        (
            _status("INSTANCE_FLEET_TIMEOUT", "The instance fleet was not filled in time"),
            "too few spot instances",
            "on_demand",
        ),
        (
            _status(
                "BOOTSTRAP_FAILURE",
                "On the master instance (i-1), bootstrap action 1 returned a non-zero return code",
            ),
            "a bootstrap script failed",
            "Fix the script",
        ),
        (
            _status("INSTANCE_FAILURE", "NO_SLAVE_LEFT"),
            "nodes were lost",
            "volume_gb",
        ),
        (
            _status("INTERNAL_ERROR", "Throttled from Amazon EC2 while launching cluster"),
            "quota of instances",
            "Service Quotas",
        ),
    ],
)
def test_find_failure_returns_cause_and_hint(
    status: dict[str, Any], cause: str, advice: str
) -> None:
    found = emr.find_failure(status)
    assert found is not None
    assert cause in str(found)
    assert str(status["StateChangeReason"]["Message"])[:12] in str(found) + found.message + "x"
    assert advice in found.hint


def test_find_failure_prefers_code_to_message() -> None:
    detail = _detail("INTERNAL_ERROR_SPOT_NO_CAPACITY_PRIMARY", "out of capacity")
    found = emr.find_failure(_status("INTERNAL_ERROR", "out of capacity", detail))
    assert found is not None
    assert "spot" in found.cause


@pytest.mark.parametrize("code", ["", "USER_REQUEST", "ALL_STEPS_COMPLETED"])
def test_find_failure_of_requested_end_is_none(code: str) -> None:
    assert emr.find_failure(_status(code, "Terminated by user request")) is None


def test_find_failure_unknown_code_returns_message() -> None:
    found = emr.find_failure(_status("INTERNAL_ERROR", "Something new"))
    assert str(found) == "INTERNAL_ERROR: Something new"
    assert found is not None
    assert "emrctl up" in found.hint


@pytest.mark.parametrize("name", instance_types.INSTANCE_TYPES)
def test_alternatives_are_no_smaller_and_of_other_families(name: str) -> None:
    own = instance_types.instance_type(name)
    for other in map(instance_types.instance_type, emr.alternatives(name)):
        assert (other.vcpus, other.arch) == (own.vcpus, own.arch)
        assert other.memory_gib >= own.memory_gib
        assert other.family != own.family
        assert other.emr >= own.emr
