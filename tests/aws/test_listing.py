"""AWS's lists as they are worked with."""

from __future__ import annotations

from typing import Any

from emrctl.aws import listing
from emrctl.aws.target import Target


class _Ec2:
    """EC2 with two pages of reservations; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def get_paginator(self, operation: str) -> _Ec2:
        assert operation == "describe_instances"
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        self.asked = asked
        one = {"OwnerId": "1", "Instances": [{"InstanceId": "i-1"}, {"InstanceId": "i-2"}]}
        return [{"Reservations": [one]}, {"Reservations": [{"Instances": [{"InstanceId": "i-3"}]}]}]


def test_tags_are_a_mapping() -> None:
    item = {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b"}]}
    assert listing.tags(item) == {"a": "1", "b": ""}


def test_an_item_may_have_no_tags() -> None:
    assert listing.tags({}) == listing.tags({"Tags": None}) == {}


def test_some_services_call_them_otherwise() -> None:
    assert listing.tags({"TagSet": [{"Key": "a", "Value": "1"}]}, "TagSet") == {"a": "1"}


def test_instances_come_from_every_page_with_their_account() -> None:
    ec2 = _Ec2()
    found = list(listing.instances(ec2, InstanceIds=["i-1"]))
    assert [(item["InstanceId"], item["OwnerId"]) for item in found] == [
        ("i-1", "1"),
        ("i-2", "1"),
        ("i-3", ""),
    ]
    assert ec2.asked == {"InstanceIds": ["i-1"]}


def test_objects_that_stand_for_folders_are_left_out(mocked: Target) -> None:
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="pets")
    for key in ("logs/", "logs/a/", "logs/a/stderr", "logs/b", "other"):
        s3.put_object(Bucket="pets", Key=key, Body=b"x")
    assert [item["Key"] for item in listing.objects(s3, "pets", "logs/")] == [
        "logs/a/stderr",
        "logs/b",
    ]
    assert list(listing.objects(s3, "pets", "none")) == []
