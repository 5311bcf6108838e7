"""The project's bucket: its name, its existence and its objects."""

from __future__ import annotations

from typing import Any

from emrctl import bundled
from emrctl.aws.errors import translated
from emrctl.aws.s3 import bucket_exists
from emrctl.aws.target import Target
from emrctl.errors import NotFoundError, ProvisioningError
from emrctl.spec import ProjectSpec


def bucket_name(project: ProjectSpec, target: Target) -> str:
    """Return the name of the project's bucket, whether or not it exists."""
    bundled.import_stacks()
    from stacks.names import bucket_name as name_of_bucket

    return name_of_bucket(project, account_settings(target))


def find_bucket(project: ProjectSpec, target: Target) -> str:
    """Return the name of the project's bucket; `NotFoundError` if it does not exist."""
    name = bucket_name(project, target)
    if _exists(target, name):
        return name
    hint = "Create it with `emrctl up`."
    raise NotFoundError(f"project {project.project} has no bucket yet ({name})", hint=hint)


def account_settings(target: Target) -> dict[str, str]:
    """Return the account and region settings of the Pulumi program."""
    return {"account": target.account(), "region": target.region}


def _exists(target: Target, name: str) -> bool:
    with translated(f"looking for the bucket {name}"):
        return bucket_exists(target.client("s3"), name)


def empty_bucket(target: Target, bucket: str) -> None:
    """Delete all objects, versions and delete markers, if the bucket exists."""
    if _exists(target, bucket):
        with translated(f"emptying {bucket}"):
            delete_objects(target.client("s3"), bucket)


def delete_objects(s3: Any, bucket: str) -> None:
    """Delete all objects, versions and delete markers; boto's errors are raised unchanged."""
    # List from the start each time: moto's continuation marker fails once its key is deleted.
    while keys := _first_keys(s3, bucket):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        if errors := answer.get("Errors", []):
            first = f"{errors[0].get('Key')}: {errors[0].get('Message')}"
            msg = f"could not delete {len(errors)} objects of {bucket} ({first})"
            raise ProvisioningError(msg, hint="Run the same command again.")


def _first_keys(s3: Any, bucket: str) -> list[dict[str, str]]:
    """Return up to 1,000 versions and delete markers, the limit of one deletion."""
    page = s3.list_object_versions(Bucket=bucket)
    items = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
    return [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
