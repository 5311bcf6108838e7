"""Tags, instances and objects of paginated responses."""

from __future__ import annotations

from typing import Any

from emrctl.aws import listing
from emrctl.aws.target import Target


class _Ec2:
    """EC2 with two pages of reservations; records the arguments."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}

    def get_paginator(self, operation: str) -> _Ec2:
        assert operation == "describe_instances"
        return self

    def paginate(self, **arguments: Any) -> list[dict[str, Any]]:
        self.arguments = arguments
        one = {"OwnerId": "1", "Instances": [{"InstanceId": "i-1"}, {"InstanceId": "i-2"}]}
        return [{"Reservations": [one]}, {"Reservations": [{"Instances": [{"InstanceId": "i-3"}]}]}]


def test_tags_without_value_are_empty_strings() -> None:
    item = {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b"}]}
    assert listing.tags(item) == {"a": "1", "b": ""}


def test_tags_item_without_tags_returns_empty() -> None:
    assert listing.tags({}) == listing.tags({"Tags": None}) == {}


def test_tags_with_key_reads_that_key() -> None:
    assert listing.tags({"TagSet": [{"Key": "a", "Value": "1"}]}, "TagSet") == {"a": "1"}


def test_instances_yields_all_pages_with_owner_id() -> None:
    ec2 = _Ec2()
    items = list(listing.instances(ec2, InstanceIds=["i-1"]))
    assert [(item["InstanceId"], item["OwnerId"]) for item in items] == [
        ("i-1", "1"),
        ("i-2", "1"),
        ("i-3", ""),
    ]
    assert ec2.arguments == {"InstanceIds": ["i-1"]}


def test_objects_skips_folder_markers(mocked: Target) -> None:
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="pets")
    for key in ("logs/", "logs/a/", "logs/a/stderr", "logs/b", "other"):
        s3.put_object(Bucket="pets", Key=key, Body=b"x")
    assert [item["Key"] for item in listing.objects(s3, "pets", "logs/")] == [
        "logs/a/stderr",
        "logs/b",
    ]
    assert list(listing.objects(s3, "pets", "none")) == []
