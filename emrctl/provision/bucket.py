"""The bucket of a project: its name, whether it is there, and what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emrctl import bundled
from emrctl.engine.failures import translated
from emrctl.engine.kind import absent
from emrctl.errors import NotFoundError, ProvisioningError
from emrctl.specs import ProjectSpec

if TYPE_CHECKING:
    from emrctl.target import Target

_AT_ONCE = 1000


def bucket_name(project: ProjectSpec, target: Target) -> str:
    """The name that the project's bucket has, or will have."""
    bundled.import_stacks()
    from stacks import names

    return names.bucket(project, settings(target))


def find_bucket(project: ProjectSpec, target: Target) -> str:
    """The name of the project's bucket; `NotFoundError` where it is not there."""
    name = bucket_name(project, target)
    if _exists(target, name):
        return name
    hint = "Make it with `emrctl up`."
    raise NotFoundError(f"project {project.project} has no bucket yet ({name})", hint=hint)


def settings(target: Target) -> dict[str, str]:
    """What the program must know of the target."""
    return {"account": target.account(), "region": target.region}


def _exists(target: Target, name: str) -> bool:
    with translated(f"looking for the bucket {name}"):
        s3 = target.client("s3")
        return absent(lambda: s3.head_bucket(Bucket=name), "404", "NoSuchBucket") is not None


def empty(target: Target, bucket: str) -> None:
    """No object, version or delete marker is left in the bucket."""
    if not _exists(target, bucket):
        return
    s3 = target.client("s3")
    with translated(f"emptying {bucket}"):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            items = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
            for start in range(0, len(keys), _AT_ONCE):
                part = {"Objects": keys[start : start + _AT_ONCE], "Quiet": True}
                refused = s3.delete_objects(Bucket=bucket, Delete=part).get("Errors", [])
                if refused:
                    first = f"{refused[0].get('Key')}: {refused[0].get('Message')}"
                    msg = f"{len(refused)} objects of {bucket} stay ({first})"
                    raise ProvisioningError(msg, hint="Run `emrctl down --storage` again.")
