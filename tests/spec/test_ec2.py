"""What a cluster of EC2 instances may ask for, what it may not, and how the two kinds differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from emrctl.errors import SpecError, UsageError
from emrctl.spec import ClusterSpec, Ec2ClusterSpec, ProjectSpec, aws_only_keys, check_local, config
from emrctl.spec.project import AWS_ONLY_EC2

DISK_KEY = "arn:aws:kms:us-east-1:1:key/k"


def _project(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": {"kind": "ec2", **cluster}})


def test_kind_selects_cluster_spec() -> None:
    assert ProjectSpec(project="pets").cluster.kind == "emr"
    project = _project(worker={"count": 3})
    assert project.cluster == project.ec2
    assert project.ec2.worker.count == 3
    with pytest.raises(SpecError, match="'main' has kind ec2") as caught:
        _ = project.emr
    assert "cluster.kind: emr" in caught.value.hint
    with pytest.raises(SpecError, match="has kind emr"):
        _ = ProjectSpec(project="pets").ec2


def test_default_ec2_cluster_is_supported_on_localhost() -> None:
    project = _project()
    check_local(project)
    assert project.ec2.nodes == 3
    assert project.ec2.release == "spark-3.5.9"
    assert (project.ec2.primary.spot, project.ec2.worker.spot) == (False, True)


def test_with_cluster_keeps_kind() -> None:
    project = ProjectSpec(project="pets", cluster=Ec2ClusterSpec(spark="4.0.1"))
    other = project.with_cluster("big")
    assert (other.cluster.name, other.ec2.spark) == ("big", "4.0.1")


def test_ec2_cluster_has_groups_like_emr() -> None:
    spec = _project(
        primary={"type": "m6g.xlarge"},
        worker={"type": "r5.xlarge", "count": 4, "root_gb": 200, "bid_usd": 0.1},
    ).ec2
    assert spec.types == ("m6g.xlarge", "r5.xlarge")
    assert (spec.primary_group.count, spec.primary_group.bid_usd) == (1, None)
    assert (spec.core_group.count, spec.core_group.bid_usd) == (4, 0.1)
    assert spec.core_group.total_gb == 200
    assert (spec.nodes, spec.nodes_at_most, spec.one_subnet) == (5, 5, True)


def test_small_types_only_for_ec2() -> None:
    small = {"primary": {"type": "t3.large"}, "worker": {"type": "t3.large", "count": 3}}
    spec = Ec2ClusterSpec.model_validate(small)
    assert (spec.core_group.type, spec.core_group.count) == ("t3.large", 3)
    assert spec.core_group.bid_usd == pytest.approx(0.0832)
    hint = r"EMR does not support .* Use m5\.xlarge, or `kind: ec2`"
    with pytest.raises(ValidationError, match=hint):
        ClusterSpec.model_validate({"core": {"type": "t3.large"}})


def test_spot_bid_defaults_to_on_demand_price() -> None:
    assert Ec2ClusterSpec().core_group.bid_usd == pytest.approx(0.192)


def test_image_depends_on_architecture() -> None:
    spec = Ec2ClusterSpec()
    assert spec.image("m5.xlarge").endswith("-x86_64")
    assert spec.image("m6g.xlarge").endswith("-arm64")
    assert Ec2ClusterSpec(ami="ami-0a").image("m5.xlarge") == "ami-0a"


def test_bootstrap_actions_exclude_ttl() -> None:
    assert [action.script for action in _project().bootstrap_actions] == ["python.sh"]


def test_endpoint_services_of_ec2_cluster() -> None:
    private = {"private": True, "nat": True}
    project = _project(network=private, ssh="10.0.0.0/8", roles={"ssm": True})
    assert project.endpoint_services == ("ec2", "sts", "ssm", "ssmmessages", "ec2messages")
    keyed = _project(network=private, ssh="10.0.0.0/8", security={"disk_key": DISK_KEY})
    assert keyed.endpoint_services == ("ec2", "sts", "kms")


AWS_VALUES: dict[str, dict[str, Any]] = {
    "cluster.placement": {"placement": "cluster"},
    "cluster.network.private": {"network": {"private": True, "nat": True}, "ssh": "10.0.0.0/8"},
    "cluster.network.nat": {"network": {"private": True, "nat": True}, "ssh": "10.0.0.0/8"},
    "cluster.network.endpoints": {
        "network": {"private": True, "nat": True, "endpoints": ["ec2"]},
        "ssh": "10.0.0.0/8",
    },
    "cluster.network.close_default_group": {"network": {"close_default_group": True}},
    "cluster.roles.permissions_boundary": {
        "roles": {"permissions_boundary": "arn:aws:iam::1:policy/limit"}
    },
    "cluster.roles.ssm": {"roles": {"ssm": True}},
    "cluster.security.disk_key": {"security": {"disk_key": DISK_KEY}},
}


@pytest.mark.parametrize("key", [key for key in AWS_ONLY_EC2 if key.startswith("cluster.")])
def test_check_local_names_unsupported_keys(key: str) -> None:
    project = _project(**AWS_VALUES[key])
    assert key in aws_only_keys(project)
    with pytest.raises(SpecError, match=key):
        check_local(project)


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "a bid on demand": ({"primary": {"bid_usd": 0.1}}, "requires spot: true"),
    "no workers": ({"worker": {"count": 0}}, "greater than or equal to 1"),
    "a disk too small": ({"worker": {"root_gb": 4}}, "greater than or equal to 10"),
    "SSH from everywhere": ({"ssh": "0.0.0.0/0"}, "0.0.0.0/0 is not allowed"),
    "SSH from a name": ({"ssh": "office"}, "not caller, none or a CIDR range"),
    "SSH from a host's bits": ({"ssh": "203.0.113.7/24"}, "not caller, none or a CIDR range"),
    "burstable ones packed": (
        {"placement": "cluster", "worker": {"type": "t3.large"}},
        "does not support t3.large",
    ),
    "nobody in at all": ({"ssh": "none"}, "roles.ssm: true"),
    "the caller in a private network": (
        {"network": {"private": True, "nat": True}},
        "range of your VPN",
    ),
    "no way to packages": (
        {"network": {"private": True}, "ssh": "10.0.0.0/8"},
        "set wheelhouse",
    ),
    "EMR's role": (
        {"roles": {"service": "EMR_DefaultRole"}},
        "roles.service is not supported for kind: ec2",
    ),
    "two subnets": ({"network": {"subnets": ["subnet-1", "subnet-2"]}}, "one subnet"),
    "one image for two kinds": (
        {"ami": "ami-0a", "primary": {"type": "m6g.xlarge"}},
        "one ami cannot be used for arm64 and x86_64",
    ),
    "an image by its name": ({"ami": "amazon-linux"}, "pattern"),
    "a version that is none": ({"spark": "3.5"}, "pattern"),
    "too many spread": ({"placement": "spread", "worker": {"count": 7}}, "7 instances per zone"),
    "a wheelhouse on the web": ({"wheelhouse": "https://example.org/"}, "pattern"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_invalid_ec2_cluster_raises_with_reason(name: str) -> None:
    document, words = IMPOSSIBLE[name]
    with pytest.raises(ValidationError, match=words):
        _project(**document)


COMPLAINTS = {
    "kind: ec2\n  worker: {cout: 3}": (
        "e.yaml:4: cluster.worker.cout: unknown key; did you mean 'count'?"
    ),
    "kind: ec2\n  workers: {count: 3}": (
        "e.yaml:4: cluster.workers: unknown key; did you mean 'worker'?"
    ),
    "kind: emr\n  cor: {count: 3}": "e.yaml:4: cluster.cor: unknown key; did you mean 'core'?",
    "kind: ecs": "e.yaml:3: cluster.kind: input should be 'emr' or 'ec2', not 'ecs'",
    "kind: ec2\n  worker: {count: 0}": (
        "e.yaml:4: cluster.worker.count: input should be greater than or equal to 1, not '0'"
    ),
}


@pytest.mark.parametrize("text", COMPLAINTS)
def test_errors_are_about_the_given_kind(text: str, tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(f"project: pets\ncluster:\n  {text}\n")
    with pytest.raises(UsageError) as caught:
        config.load(path)
    assert str(caught.value) == COMPLAINTS[text]


def test_environment_selects_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("project: pets\n")
    monkeypatch.setenv("EMRCTL_CLUSTER__KIND", "ec2")
    monkeypatch.setenv("EMRCTL_CLUSTER__WORKER__COUNT", "5")
    assert config.load(path).project.ec2.worker.count == 5


def test_schema_has_both_kinds() -> None:
    schema = ProjectSpec.model_json_schema()
    both = {item["$ref"].rpartition("/")[2] for item in schema["properties"]["cluster"]["anyOf"]}
    assert both == {"ClusterSpec", "Ec2ClusterSpec"}
    assert schema["$defs"]["Ec2ClusterSpec"]["properties"]["kind"]["const"] == "ec2"
