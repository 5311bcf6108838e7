"""Deletion of all objects of a bucket."""

from __future__ import annotations

from typing import Any

import pytest

from emrctl.errors import ProvisioningError
from emrctl.provision import bucket


class FakeS3:
    """A bucket with these pages of versions and delete markers."""

    def __init__(self, *pages: dict[str, Any], errors: tuple[dict[str, str], ...] = ()) -> None:
        self.pages = list(pages)
        self.errors = errors
        self.deleted: list[Any] = []

    def list_object_versions(self, **_: str) -> dict[str, Any]:
        return self.pages.pop(0) if self.pages else {}

    def delete_objects(self, **request: Any) -> dict[str, Any]:
        self.deleted.append(request)
        return {"Errors": list(self.errors)} if self.errors else {}


A, B = ({"Key": key, "VersionId": "1"} for key in "ab")


def test_delete_objects_deletes_versions_and_markers_page_by_page() -> None:
    s3 = FakeS3({"Versions": [A], "DeleteMarkers": [B]}, {"DeleteMarkers": [A]})
    bucket.delete_objects(s3, "pets")
    expected = [{"Objects": keys, "Quiet": True} for keys in ([A, B], [A])]
    assert s3.deleted == [{"Bucket": "pets", "Delete": delete} for delete in expected]


def test_delete_objects_names_the_first_object_that_was_kept() -> None:
    errors = ({"Key": "a", "Message": "locked"}, {"Key": "b", "Message": "denied"})
    with pytest.raises(ProvisioningError) as caught:
        bucket.delete_objects(FakeS3({"Versions": [A, B]}, errors=errors), "pets")
    assert caught.value.message == "could not delete 2 objects of pets (a: locked)"
