"""Who still needs what: the verdicts, without any AWS."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from emrctl.cleanup import Scope, Thing, judge
from emrctl.cleanup.resources import EVERYWHERE, expiry

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SCOPE = Scope(now=NOW)


def _thing(kind: str, id_: str = "x", **more: object) -> Thing:
    given = {"region": "us-east-1", "project": "pets", "stack": "pets-main", **more}
    return Thing(kind=kind, id=id_, **given)  # type: ignore[arg-type]


def _verdicts(*things: Thing, scope: Scope = SCOPE) -> dict[str, str]:
    return {one.kind: one.verdict for one in judge(things, scope)}


CLUSTER = _thing("cluster", expires=NOW + timedelta(hours=1))
VPC = _thing("VPC")
ROLE = _thing("role", region=EVERYWHERE)
BUCKET = _thing("bucket", region=EVERYWHERE, stack="pets-storage", hourly_usd=None)


def test_what_a_living_cluster_stands_on_is_in_use() -> None:
    assert set(_verdicts(CLUSTER, VPC, ROLE, BUCKET).values()) == {"in use"}


def test_an_expired_cluster_takes_its_stack_with_it_but_not_the_bucket() -> None:
    old = replace(CLUSTER, expires=NOW)
    found = _verdicts(old, VPC, ROLE, BUCKET)
    assert found == {"cluster": "expired", "VPC": "expired", "role": "expired", "bucket": "kept"}


def test_what_no_cluster_stands_on_is_left_over() -> None:
    assert _verdicts(VPC, ROLE) == {"VPC": "left over", "role": "left over"}


def test_a_stack_that_is_being_made_is_let_be() -> None:
    young = replace(ROLE, created=NOW - timedelta(minutes=5))
    assert set(_verdicts(VPC, young).values()) == {"being made"}
    assert set(_verdicts(VPC, replace(young, created=NOW - timedelta(hours=1))).values()) == {
        "left over"
    }


def test_a_role_alone_may_belong_to_another_region() -> None:
    assert _verdicts(ROLE) == {"role": "unsure"}
    assert _verdicts(ROLE, scope=replace(SCOPE, complete=True)) == {"role": "left over"}


def test_nothing_is_left_over_where_clusters_could_not_be_listed() -> None:
    blind = replace(SCOPE, blind=frozenset({"us-east-1"}), buckets=True, complete=True)
    assert set(_verdicts(VPC, ROLE, BUCKET, scope=blind).values()) == {"unsure"}
    elsewhere = replace(VPC, region="eu-west-1")
    assert _verdicts(elsewhere, scope=blind) == {"VPC": "left over"}


def test_buckets_go_only_when_asked_for_and_never_under_a_cluster() -> None:
    asked = replace(SCOPE, buckets=True)
    assert _verdicts(BUCKET, scope=asked) == {"bucket": "left over"}
    assert _verdicts(BUCKET, CLUSTER, scope=asked)["bucket"] == "in use"


def test_the_dearest_of_what_nobody_needs_comes_first() -> None:
    things = [
        replace(CLUSTER, hourly_usd=9.0),
        _thing("VPC", stack="a", hourly_usd=0.0),
        _thing("NAT gateway", stack="b", hourly_usd=0.045),
    ]
    assert [one.kind for one in judge(things, SCOPE)] == ["NAT gateway", "VPC", "cluster"]


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
def test_when_something_expires_stands_in_its_tags(
    tags: dict[str, str], when: datetime | None
) -> None:
    assert expiry(tags, NOW) == when
