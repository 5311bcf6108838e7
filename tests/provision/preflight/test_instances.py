"""Preflight of EC2 clusters, on accounts with recorded answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from emrctl.clusters import program_inputs
from emrctl.errors import ProvisioningError
from emrctl.provision import preflight
from emrctl.provision.preflight.finding import PreflightFinding
from emrctl.spec import ProjectSpec
from tests.provision.preflight.accounts import HEALTHY, TARGET, instances
from tests.recorded import Answer, Recorded, refused


def _image(**other: Any) -> Any:
    image = {
        "ImageId": "ami-0a",
        "Architecture": "x86_64",
        "RootDeviceType": "ebs",
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}],
    }
    return {"Images": [image | other]}


OWN: dict[str, Answer] = {
    "GetParameter": {"Parameter": {"Value": "ami-0a"}},
    "DescribeImages": _image(),
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, _clients: None) -> Recorded:
    """Return the answers of a healthy account, for a caller at 198.51.100.7."""
    found = Recorded(HEALTHY | OWN)
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", found.answer)
    monkeypatch.setattr(program_inputs, "caller_address", lambda: "198.51.100.7")
    return found


def _project(**cluster: Any) -> ProjectSpec:
    document = {"project": "pets", "target": "aws", "cluster": {"kind": "ec2", **cluster}}
    return ProjectSpec.model_validate(document)


def _findings(**cluster: Any) -> list[PreflightFinding]:
    return preflight.run_checks(_project(**cluster), TARGET)


def test_run_checks_healthy_account_has_no_findings(aws: Recorded) -> None:
    assert _findings() == []
    assert preflight.prepare(_project(), TARGET) == _project()


def test_run_checks_of_ec2_makes_no_emr_calls(aws: Recorded) -> None:
    _findings()
    asked = {operation for operation, _ in aws.calls}
    emr = {
        "ListReleaseLabels",
        "ListSupportedInstanceTypes",
        "GetBlockPublicAccessConfiguration",
        "DescribeSecurityConfiguration",
    }
    assert not asked & emr


WRONG: dict[str, tuple[dict[str, Any], dict[str, Answer], str, str]] = {
    "no such image": (
        {"ami": "ami-0f"},
        {"DescribeImages": refused("InvalidAMIID.NotFound")},
        "there is no ami-0f in us-east-1",
        "cluster.ami",
    ),
    "an image for others": (
        {"ami": "ami-0a"},
        {"DescribeImages": _image(Architecture="arm64")},
        "ami-0a is for arm64, and m5.xlarge is x86_64",
        "Use an image for x86_64",
    ),
    "a disk too small": (
        {"worker": {"root_gb": 10}},
        {
            "DescribeImages": _image(
                BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30}}]
            )
        },
        "needs a disk of 30 GB, and worker.root_gb is 10",
        "cluster.worker.root_gb: 30",
    ),
    "no disk of its own": (
        {},
        {"DescribeImages": _image(RootDeviceType="instance-store")},
        "cannot be encrypted",
        "EBS volume",
    ),
    "no such parameter": (
        {"ami": "/mine/image"},
        {"GetParameter": refused("ParameterNotFound")},
        "no parameter /mine/image",
        "cluster.ami",
    ),
    "quota of spot": (
        {"worker": {"count": 20}},
        {},
        "needs 80 vCPUs of spot standard instances",
        "L-34B43A08",
    ),
    "quota on demand": (
        {"worker": {"spot": False, "count": 2}},
        {"DescribeInstances": instances(4)},
        "needs 12 vCPUs of on-demand standard instances, and 0",
        "L-1216C47A",
    ),
    "key pair": (
        {"key_pair": "other"},
        {
            "DescribeKeyPairs": lambda asked: (
                refused("InvalidKeyPair.NotFound")
                if "KeyNames" in asked
                else {"KeyPairs": [{"KeyName": "mine"}]}
            )
        },
        "there is no key pair 'other'",
        "Existing key pairs: mine",
    ),
    "a key pair of that name": (
        {},
        {"DescribeKeyPairs": {"KeyPairs": [{"KeyName": "pets-main"}]}},
        "the key pair 'pets-main' exists and",
        "cluster.key_pair",
    ),
    "an empty wheelhouse": (
        {"wheelhouse": "s3://wheels/3.5/"},
        {"ListObjectsV2": {"KeyCount": 0}},
        "s3://wheels/3.5/ is empty",
        "Upload the wheels",
    ),
    "no such wheelhouse": (
        {"wheelhouse": "s3://wheels"},
        {"ListObjectsV2": refused("NoSuchBucket")},
        "s3://wheels is empty",
        "Upload the wheels",
    ),
    "no room in the subnet": (
        {"network": {"subnets": ["subnet-1"], "vpc": "vpc-1"}, "worker": {"count": 12}},
        {"DescribeSubnets": lambda _asked: {"Subnets": [_subnet(AvailableIpAddressCount=9)]}},
        "9 free addresses, and the cluster may have 13",
        "larger subnet",
    ),
}


def _subnet(**other: Any) -> Mapping[str, Any]:
    """Return a subnet without the tag for EMR's service role."""
    base = {"SubnetId": "subnet-1", "VpcId": "vpc-1", "AvailabilityZone": "us-east-1a"}
    return base | other


@pytest.mark.parametrize("name", WRONG)
def test_run_checks_of_ec2_reports_error_with_hint(aws: Recorded, name: str) -> None:
    cluster, answers, what, hint = WRONG[name]
    aws.answers |= answers
    errors = [item for item in _findings(**cluster) if item.severity == "error"]
    assert any(what in item.what and hint in item.hint for item in errors), errors
    with pytest.raises(ProvisioningError, match="nothing was created"):
        preflight.prepare(_project(**cluster), TARGET)


def test_run_checks_accepts_key_pair_of_own_stack(aws: Recorded) -> None:
    own = {"KeyName": "pets-main", "Tags": [{"Key": "emrctl:stack", "Value": "pets-main"}]}
    aws.answers["DescribeKeyPairs"] = {"KeyPairs": [own]}
    assert _findings() == []


def test_run_checks_of_ec2_needs_no_emr_subnet_tag(aws: Recorded) -> None:
    aws.answers["DescribeSubnets"] = {"Subnets": [_subnet(AvailableIpAddressCount=200)]}
    assert _findings(network={"subnets": ["subnet-1"], "vpc": "vpc-1"}) == []


def test_run_checks_caller_outside_ssh_range_is_warning(aws: Recorded) -> None:
    [finding] = _findings(ssh="52.94.76.0/24")
    assert (finding.about, finding.severity) == ("SSH", "warning")
    assert "address 198.51.100.7 is not in cluster.ssh" in finding.what
    assert _findings(ssh="198.51.100.0/24") == []
    assert _findings(ssh="10.0.0.0/8") == []


def test_run_checks_unknown_caller_address_is_error(
    aws: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown_address() -> str:
        raise ProvisioningError("the address is unknown", hint="Set cluster.ssh.")

    monkeypatch.setattr(program_inputs, "caller_address", unknown_address)
    [finding] = _findings()
    assert (finding.about, finding.severity) == ("SSH", "error")
    assert _findings(ssh="52.94.76.0/24") == []


def test_run_checks_without_ssh_requires_session_plugin(
    aws: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    closed = {"ssh": "none", "roles": {"ssm": True}}
    [finding] = _findings(**closed)
    assert finding.what == "cluster.ssh is none, and session-manager-plugin is not on PATH"
    (tmp_path / "session-manager-plugin").touch(mode=0o755)
    assert _findings(**closed) == []
