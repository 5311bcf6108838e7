"""What a spec may ask for, what it may not, and what of it localhost has not got."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from emrctl.errors import SpecError
from emrctl.spec import ClusterSpec, JobSpec, ProjectSpec, aws_only_keys, check_local
from emrctl.spec.project import AWS_ONLY_EMR

FLEETS: dict[str, Any] = {
    "core": {"types": [{"type": "r5.xlarge"}, {"type": "m5.2xlarge", "weight": 2}], "spot": 5}
}


def _project(**other: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", **other})


def test_default_project_is_supported_on_localhost() -> None:
    project = ProjectSpec(project="pets")
    check_local(project)
    assert project.emr.primary.count + project.emr.core.count == 3
    assert project.cluster.types == ("m5.xlarge",)


# A value that asks for AWS, for every key that is refused on localhost.
AWS_VALUES: dict[str, Any] = {
    "cluster.gpu": True,
    "cluster.ami": "ami-0a",
    "cluster.root_volume_gb": 30,
    "cluster.key_pair": "mine",
    "cluster.network.private": True,
    "cluster.network.nat": True,
    "cluster.network.endpoints": ["ec2"],
    "cluster.network.close_default_group": True,
    "cluster.network.vpc": "vpc-1",
    "cluster.network.subnets": ["subnet-1"],
    "cluster.roles.service": "EMR_DefaultRole",
    "cluster.roles.instance_profile": "EMR_EC2_DefaultRole",
    "cluster.roles.permissions_boundary": "arn:aws:iam::1:policy/limit",
    "cluster.roles.ssm": True,
    "cluster.security.at_rest": True,
    "cluster.security.disk_key": "arn:aws:kms:us-east-1:1:key/k",
    "cluster.security.in_transit": "s3://pets/c.zip",
    "cluster.security.log_key": "arn:aws:kms:us-east-1:1:key/k",
    "cluster.security.configuration": "theirs",
    "storage.access_logs": "the-logs",
}
# What a key cannot be without.
NEEDED: dict[str, dict[str, Any]] = {
    "cluster.gpu": {"cluster.core.type": "g4dn.xlarge"},
    "cluster.network.nat": {"cluster.network.private": True},
    "cluster.network.endpoints": {"cluster.network.private": True},
    "cluster.network.vpc": {"cluster.network.subnets": ["subnet-1"]},
    "cluster.security.disk_key": {"cluster.security.at_rest": True},
}


def _with(values: dict[str, Any]) -> ProjectSpec:
    document: dict[str, Any] = {}
    for key, value in values.items():
        place = document
        *path, last = key.split(".")
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return _project(**document)


@pytest.mark.parametrize("key", AWS_ONLY_EMR)
def test_check_local_names_unsupported_keys(key: str) -> None:
    project = _with({**NEEDED.get(key, {}), key: AWS_VALUES[key]})
    assert key in aws_only_keys(project)
    with pytest.raises(SpecError, match=key) as caught:
        check_local(project)
    assert "target: aws" in caught.value.hint


def test_check_local_names_all_keys() -> None:
    with pytest.raises(SpecError) as caught:
        check_local(_with({"cluster.key_pair": "mine", "cluster.roles.ssm": True}))
    said = "cluster.key_pair, cluster.roles.ssm are not supported on localhost"
    assert str(caught.value) == said


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "two primaries": ({"primary": {"count": 2}}, "1 or 3 primary nodes"),
    "three unprotected": ({"primary": {"count": 3}}, "termination_protection: true"),
    "GPUs before emr-6.2": (
        {"gpu": True, "release": "emr-6.1.0", "core": {"type": "g4dn.xlarge"}},
        "gpu requires emr-6.2.0 or later, not emr-6.1.0",
    ),
    "GPUs of a type without": ({"gpu": True}, "core and task nodes; m5.xlarge has none"),
    "GPUs of a task type without": (
        {"gpu": True, "core": {"type": "g5.xlarge"}, "task": [{"type": "c5.xlarge"}]},
        "task nodes; c5.xlarge has none",
    ),
    "three primaries of an old release": (
        {"primary": {"count": 3}, "termination_protection": True, "release": "emr-5.20.0"},
        "require emr-5.23.0 or later",
    ),
    "placement of one": ({"placement": "spread"}, "primary.count: 3"),
    "groups and fleets": ({"fleets": FLEETS, "core": {"count": 3}}, "remove core"),
    "an empty fleet": ({"fleets": {"core": {"types": [{}]}}}, "needs units"),
    "a type twice": (
        {"fleets": {"core": {"types": [{}, {}], "spot": 1}}},
        "is given twice",
    ),
    "no types": ({"fleets": {"core": {"types": [], "spot": 1}}}, "at least 1 item"),
    "two bids": (
        {"fleets": {"core": {"types": [{"bid_usd": 1, "bid_percent": 50}], "spot": 1}}},
        "both bid_usd and bid_percent",
    ),
    "a fleet of primaries": (
        {"fleets": {**FLEETS, "primary": {"types": [{}], "on_demand": 2}}},
        "fleets.primary has exactly one node",
    ),
    "limits upside down": ({"scaling": {"minimum": 5, "maximum": 4}}, "scaling.minimum is 5"),
    "more core than all": ({"scaling": {"maximum": 4, "max_core": 9}}, "scaling.max_core is 9"),
    "an empty task group that is scaled": (
        {"task": [{"count": 0}], "scaling": {"maximum": 4}},
        "task group 'task' has count 0: with scaling set 1",
    ),
    "units without fleets": ({"scaling": {"maximum": 4, "unit": "fleet_units"}}, "requires fleets"),
    "instances of fleets": (
        {"fleets": FLEETS, "scaling": {"maximum": 9, "unit": "instances"}},
        "use fleet_units or vcpus",
    ),
    "two task groups of one name": ({"task": [{}, {}]}, "distinct names"),
    "a VPC alone": ({"network": {"vpc": "vpc-1"}}, "requires network.subnets"),
    "NAT in public": ({"network": {"nat": True}}, "private: true"),
    "endpoints in public": ({"network": {"endpoints": ["ec2"]}}, "private: true"),
    "changes in subnets of others": (
        {"network": {"subnets": ["subnet-1"], "zone": "us-east-1a"}},
        "network.zone: not supported with existing subnets",
    ),
    "groups in two subnets": ({"network": {"subnets": ["subnet-1", "subnet-2"]}}, "one subnet"),
    "a VPC by its name": ({"network": {"vpc": "main", "subnets": ["subnet-1"]}}, "pattern"),
    "sessions on a foreign profile": (
        {"roles": {"ssm": True, "instance_profile": "mine"}},
        "attach AmazonSSMManagedInstanceCore",
    ),
    "a limit on no role": (
        {
            "roles": {
                "service": "a",
                "instance_profile": "b",
                "permissions_boundary": "arn:aws:iam::1:policy/x",
            }
        },
        "emrctl creates no roles",
    ),
    "disks without rest": ({"security": {"disk_key": "arn:aws:kms:a:1:key/k"}}, "at_rest: true"),
    "a configuration twice": (
        {"security": {"configuration": "mine", "at_rest": True}},
        "cannot be combined with at_rest",
    ),
    "certificates of nowhere": ({"security": {"in_transit": "certs.zip"}}, "pattern"),
    "Kerberos": ({"kerberos": {"realm": "X"}}, "kerberos is not supported"),
    "Kerberos as security": ({"security": {"kerberos": True}}, "kerberos is not supported"),
    "a type that is none": ({"core": {"type": "m5.xlrage"}}, "Did you mean m5.xlarge"),
    "a free cluster": ({"max_hourly_cost": 0}, "greater than 0"),
    "seventeen scripts": ({"bootstrap": ["python.sh"] * 17}, "EMR allows 16"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_invalid_cluster_raises_with_reason(name: str) -> None:
    document, words = IMPOSSIBLE[name]
    with pytest.raises(ValidationError) as caught:
        ClusterSpec.model_validate(document)
    assert words in str(caught.value)


def test_project_with_waivers_is_rejected() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        _project(waivers={"CKV_AWS_18": "no"})


def test_short_forms() -> None:
    spec = ClusterSpec.model_validate(
        {"buckets": ["open-data"], "bootstrap": ["x.sh"], "network": {"subnets": "subnet-1"}}
    )
    assert (spec.buckets[0].name, spec.buckets[0].access) == ("open-data", "read")
    assert spec.bootstrap[0].script == "x.sh"
    assert spec.network.subnets == ("subnet-1",)
    assert spec.network.existing


def test_fleet_as_group_uses_smallest_type() -> None:
    spec = ClusterSpec.model_validate({"fleets": FLEETS})
    assert (spec.core_group.type, spec.core_group.count) == ("r5.xlarge", 5)
    assert spec.primary_group.type == "m5.xlarge"
    assert spec.types == ("m5.xlarge", "r5.xlarge", "m5.2xlarge")
    heavy = {"core": {"types": [{"type": "m5.xlarge", "weight": 2}], "on_demand": 5}}
    assert ClusterSpec.model_validate({"fleets": heavy}).core_group.count == 3


def test_with_cluster_changes_only_the_name() -> None:
    project = _project(cluster={"fleets": FLEETS, "network": {"subnets": {"tier": "data"}}})
    other = project.with_cluster("big")
    assert other.cluster.name == "big"
    assert other.emr.fleets == project.emr.fleets
    assert other.cluster.network == project.cluster.network
    assert project.with_cluster(None) is project


def test_endpoint_services_follow_the_spec() -> None:
    assert _project().endpoint_services == ("elasticmapreduce", "sts")
    more = _project(storage={"kms_key": "k"}, cluster={"roles": {"ssm": True}})
    assert more.endpoint_services[2:] == ("kms", "ssm", "ssmmessages", "ec2messages")
    chosen = {"network": {"private": True, "endpoints": ["ec2"]}}
    assert _project(cluster=chosen).endpoint_services == ("ec2",)


def test_secrets_of_job_are_sources_or_names() -> None:
    listed = JobSpec.model_validate({"script": "a.py", "secrets": ["DB_PWD"]})
    mapped = JobSpec.model_validate({"script": "a.py", "secrets": {"DB_PWD": "prod/db#password"}})
    assert listed.secrets == {"DB_PWD": "DB_PWD"}
    assert mapped.secrets == {"DB_PWD": "prod/db#password"}
