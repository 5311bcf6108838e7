"""Classify resources without AWS."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from emrctl.cleanup import AwsResource, Scope, classify
from emrctl.cleanup.resources import GLOBAL, expiry

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SCOPE = Scope(now=NOW)


def _resource(kind: str, id_: str = "x", **more: object) -> AwsResource:
    values = {"region": "us-east-1", "project": "pets", "stack": "pets-main", **more}
    return AwsResource(kind=kind, id=id_, **values)  # type: ignore[arg-type]


def _usages(*resources: AwsResource, scope: Scope = SCOPE) -> dict[str, str]:
    return {one.kind: one.usage for one in classify(resources, scope)}


CLUSTER = _resource("cluster", expires=NOW + timedelta(hours=1))
VPC = _resource("VPC")
ROLE = _resource("role", region=GLOBAL)
BUCKET = _resource("bucket", region=GLOBAL, stack="pets-storage", hourly_usd=None)


def test_classify_resources_of_an_active_cluster_in_use() -> None:
    assert set(_usages(CLUSTER, VPC, ROLE, BUCKET).values()) == {"in use"}


def test_classify_stack_of_an_expired_cluster_expired_except_bucket() -> None:
    old = replace(CLUSTER, expires=NOW)
    found = _usages(old, VPC, ROLE, BUCKET)
    assert found == {
        "cluster": "expired",
        "VPC": "expired",
        "role": "expired",
        "bucket": "retained",
    }


def test_classify_stack_without_cluster_orphaned() -> None:
    assert _usages(VPC, ROLE) == {"VPC": "orphaned", "role": "orphaned"}


def test_classify_recent_stack_creating() -> None:
    young = replace(ROLE, created=NOW - timedelta(minutes=5))
    assert set(_usages(VPC, young).values()) == {"creating"}
    assert set(_usages(VPC, replace(young, created=NOW - timedelta(hours=1))).values()) == {
        "orphaned"
    }


def test_classify_role_alone_unknown_unless_all_regions_listed() -> None:
    assert _usages(ROLE) == {"role": "unknown"}
    assert _usages(ROLE, scope=replace(SCOPE, complete=True)) == {"role": "orphaned"}


def test_classify_unlisted_region_unknown() -> None:
    unlisted = replace(SCOPE, unlisted=frozenset({"us-east-1"}), buckets=True, complete=True)
    assert set(_usages(VPC, ROLE, BUCKET, scope=unlisted).values()) == {"unknown"}
    elsewhere = replace(VPC, region="eu-west-1")
    assert _usages(elsewhere, scope=unlisted) == {"VPC": "orphaned"}


def test_classify_bucket_orphaned_only_if_included_and_unused() -> None:
    included = replace(SCOPE, buckets=True)
    assert _usages(BUCKET, scope=included) == {"bucket": "orphaned"}
    assert _usages(BUCKET, CLUSTER, scope=included)["bucket"] == "in use"


def test_classify_sorts_deletable_by_cost() -> None:
    resources = [
        replace(CLUSTER, hourly_usd=9.0),
        _resource("VPC", stack="a", hourly_usd=0.0),
        _resource("NAT gateway", stack="b", hourly_usd=0.045),
    ]
    assert [one.kind for one in classify(resources, SCOPE)] == ["NAT gateway", "VPC", "cluster"]


@pytest.mark.parametrize(
    ("tags", "when"),
    [
        ({"emrctl:expires": "2026-11-20T12:00:00+00:00"}, NOW),
        ({"emrctl:expires": "2026-11-20T12:00:00Z"}, NOW),
        ({"emrctl:expires": "2026-11-20T12:00:00"}, NOW),
        ({"emrctl:expires": str(int(NOW.timestamp()))}, NOW),
        ({"emrctl:ttl-s": "3600"}, NOW + timedelta(hours=1)),
        ({"emrctl:ttl-s": "0"}, None),
        ({"emrctl:expires": "tomorrow"}, None),
        ({}, None),
    ],
)
def test_expiry_reads_tags(tags: dict[str, str], when: datetime | None) -> None:
    assert expiry(tags, NOW) == when
