"""Preflight on accounts of recorded answers: a healthy one, and each thing that can be wrong."""

from __future__ import annotations

import logging

import pytest

from emrctl.errors import ProvisioningError, SpecError
from emrctl.provision import preflight
from emrctl.provision.preflight import Finding
from tests.provision.preflight.accounts import (
    HARD,
    TARGET,
    all_there,
    errors,
    instances,
    named,
    pets,
)
from tests.provision.preflight.wrong import WARNED, WRONG
from tests.recorded import Recorded


def test_a_healthy_account_has_nothing_to_say(aws: Recorded) -> None:
    assert preflight.check(pets(), TARGET) == []
    assert preflight.ready(pets(), TARGET) == pets()


def test_all_that_a_spec_may_name_is_looked_up(aws: Recorded) -> None:
    all_there(aws)
    assert preflight.check(pets(**HARD), TARGET) == []
    seen = {operation for operation, _ in aws.calls}
    assert seen >= {"DescribeKey", "DescribeImages", "GetInstanceProfile", "HeadObject"}


@pytest.mark.parametrize("name", WRONG)
def test_what_would_fail_is_found_with_what_to_do(aws: Recorded, name: str) -> None:
    cluster, answers, what, hint = WRONG[name]
    aws.answers |= answers
    found = errors(**cluster)
    assert any(what in item.what and hint in item.hint for item in found), found
    with pytest.raises(ProvisioningError, match="nothing was made"):
        preflight.ready(pets(**cluster), TARGET)


def test_our_own_things_are_no_obstacle(aws: Recorded) -> None:
    mine = [
        {"Key": "emrctl:project", "Value": "pets"},
        {"Key": "emrctl:stack", "Value": "pets-main"},
    ]
    aws.answers |= {
        "DescribeInstances": instances(9, Tags=mine),
        "DescribeVpcs": {"Vpcs": [{"VpcId": f"vpc-{n}", "Tags": mine} for n in range(64)]},
        "GetRole": lambda asked: {"Role": named(asked["RoleName"], Tags=mine)},
        "HeadBucket": {"BucketRegion": "us-east-1"},
        "GetBucketTagging": {"TagSet": mine},
    }
    assert preflight.check(pets(), TARGET) == []


@pytest.mark.parametrize("name", WARNED)
def test_what_may_surprise_is_a_warning(
    aws: Recorded, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, answers, words = WARNED[name]
    aws.answers |= answers
    found = preflight.check(pets(**cluster), TARGET)
    assert {item.severity for item in found} == {"warning"}
    assert any(words in item.what and item.hint for item in found)
    with caplog.at_level(logging.WARNING):
        preflight.ready(pets(**cluster), TARGET)
    assert words in caplog.text


def test_check_does_not_evaluate_program(aws: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations: list[object] = []
    for name in ("declare_storage", "declare_cluster"):
        monkeypatch.setattr(f"stacks.program.{name}", lambda *args: evaluations.append(args))
    assert preflight.check(pets(), TARGET) == []
    assert evaluations == []


def test_ready_with_invalid_network_range_is_rejected(aws: Recorded) -> None:
    with pytest.raises(SpecError, match="no room for a second subnet"):
        preflight.ready(pets(network={"private": True, "nat": True, "cidr": "10.0.0.0/20"}), TARGET)


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
