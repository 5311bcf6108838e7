"""The bucket of a project: its name, whether it is there, and what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emrctl import bundled
from emrctl.aws.translate import translated
from emrctl.engine.localhost.resource_type import absent
from emrctl.errors import NotFoundError, ProvisioningError
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target


def bucket_name(project: ProjectSpec, target: Target) -> str:
    """The name that the project's bucket has, or will have."""
    bundled.import_stacks()
    from stacks import names

    return names.bucket_name(project, settings(target))


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
    with translated(f"emptying {bucket}"):
        delete_objects(target.client("s3"), bucket)


def delete_objects(s3: Any, bucket: str) -> None:
    """Likewise, of a bucket that is there; boto's errors leave as they are."""
    # From the start again: where the last of a page is gone, moto does not find the next one.
    while keys := _some(s3, bucket):
        asked = {"Objects": keys, "Quiet": True}
        refused = s3.delete_objects(Bucket=bucket, Delete=asked).get("Errors", [])
        if refused:
            first = f"{refused[0].get('Key')}: {refused[0].get('Message')}"
            msg = f"{len(refused)} objects of {bucket} stay ({first})"
            raise ProvisioningError(msg, hint="Run the same command again.")


def _some(s3: Any, bucket: str) -> list[dict[str, str]]:
    """Up to 1,000 versions and delete markers, as many as may be deleted at once."""
    page = s3.list_object_versions(Bucket=bucket)
    items = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
    return [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
