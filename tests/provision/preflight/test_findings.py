"""Preflight of EMR clusters, on accounts with recorded answers."""

from __future__ import annotations

import logging

import pytest

from emrctl.errors import ProvisioningError, SpecError
from emrctl.provision import preflight
from emrctl.provision.preflight.finding import PreflightFinding
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


def test_run_checks_healthy_account_has_no_findings(aws: Recorded) -> None:
    assert preflight.run_checks(pets(), TARGET) == []
    assert preflight.prepare(pets(), TARGET) == pets()


def test_run_checks_looks_up_all_named_resources(aws: Recorded) -> None:
    all_there(aws)
    assert preflight.run_checks(pets(**HARD), TARGET) == []
    seen = {operation for operation, _ in aws.calls}
    assert seen >= {"DescribeKey", "DescribeImages", "GetInstanceProfile", "HeadObject"}


@pytest.mark.parametrize("name", WRONG)
def test_run_checks_reports_error_with_hint(aws: Recorded, name: str) -> None:
    cluster, answers, what, hint = WRONG[name]
    aws.answers |= answers
    found = errors(**cluster)
    assert any(what in item.what and hint in item.hint for item in found), found
    with pytest.raises(ProvisioningError, match="nothing was created"):
        preflight.prepare(pets(**cluster), TARGET)


def test_run_checks_ignores_resources_of_own_stack(aws: Recorded) -> None:
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
    assert preflight.run_checks(pets(), TARGET) == []


@pytest.mark.parametrize("name", WARNED)
def test_run_checks_reports_warning(
    aws: Recorded, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, answers, words = WARNED[name]
    aws.answers |= answers
    found = preflight.run_checks(pets(**cluster), TARGET)
    assert {item.severity for item in found} == {"warning"}
    assert any(words in item.what and item.hint for item in found)
    with caplog.at_level(logging.WARNING):
        preflight.prepare(pets(**cluster), TARGET)
    assert words in caplog.text


def test_run_checks_does_not_evaluate_program(
    aws: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluations: list[object] = []
    for name in ("declare_storage", "declare_cluster"):
        monkeypatch.setattr(f"stacks.program.{name}", lambda *args: evaluations.append(args))
    assert preflight.run_checks(pets(), TARGET) == []
    assert evaluations == []


def test_prepare_rejects_invalid_network_range(aws: Recorded) -> None:
    with pytest.raises(SpecError, match="no room for a second subnet"):
        preflight.prepare(
            pets(network={"private": True, "nat": True, "cidr": "10.0.0.0/20"}), TARGET
        )


def test_raise_errors_reports_all_errors() -> None:
    findings = [
        PreflightFinding(about="a", severity="error", what="no key", hint="Make one."),
        PreflightFinding(about="b", severity="error", what="no role", hint="Make it."),
        PreflightFinding(about="c", severity="warning", what="odd", hint="Mind."),
    ]
    with pytest.raises(ProvisioningError) as caught:
        preflight.raise_errors(findings)
    assert str(caught.value) == "nothing was created: no key\n  also: no role. Make it."
    assert caught.value.hint == "Make one."
    preflight.raise_errors(findings[2:])
