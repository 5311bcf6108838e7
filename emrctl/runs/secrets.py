"""Secrets of a run: variables of its program whose values are in no record, log or command line.

On AWS the nodes read them from Secrets Manager or Parameter Store when the program starts. On
localhost the caller's variable of that name has priority, so that the same emrctl.yaml works with
and without an account; its value is part of the run's private object.

The private object has the texts of a run that command lines may not contain. It is deleted, with
all of its versions, when the run has finished; a rule of the bucket deletes what is left.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emrctl.aws import errors
from emrctl.aws.s3 import PRIVATE_PREFIX
from emrctl.errors import NotFoundError
from emrctl.spec.jobs import parameter_name

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.runs.record import Run

_NOT_FOUND = ("ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound")
_DENIED = ("AccessDeniedException", "AccessDenied")


@dataclass(frozen=True)
class RunSecrets:
    """Values that are known here, and sources that the nodes read, by the variable's name."""

    values: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def resolve(target: Target, secrets: Mapping[str, str]) -> RunSecrets:
    """Return values and sources of secrets, given as sources by the variable's name.

    Raises `NotFoundError` for a secret that does not exist. Its value is not read, and that the
    caller may not describe it is no error: the nodes read it with a role of their own.
    """
    values = {name: os.environ[name] for name in secrets if target.is_local and name in os.environ}
    sources = {name: source for name, source in secrets.items() if name not in values}
    for name, source in sources.items():
        with errors.translated(f"looking for the secret {name}"):
            exists = errors.get_or_none(lambda at=source: _describe(target, at), *_NOT_FOUND)
        if not exists:
            hint = "Create it with `aws secretsmanager create-secret --name NAME`."
            if target.is_local:
                hint = f"Set the variable {name} in your shell. {hint}"
            raise NotFoundError(f"the secret {name} does not exist: '{source}'", hint=hint)
    return RunSecrets(values, sources)


def _describe(target: Target, source: str) -> bool:
    """Return True if the secret exists or cannot be described."""
    from botocore.exceptions import ClientError

    where = source.partition("#")[0]
    region = where.split(":")[3] if where.startswith("arn:") else target.region
    if region != target.region:  # a client is for one region
        return True
    try:
        name = parameter_name(where)
        if name is not None:
            target.client("ssm").get_parameter(Name=name, WithDecryption=False)
        else:
            target.client("secretsmanager").describe_secret(SecretId=where)
    except ClientError as error:
        if errors.error_code(error) not in _DENIED:
            raise
    return True


def private_key(run: Run) -> str:
    """Return the key of the run's private object."""
    return f"{PRIVATE_PREFIX}{run.id}.json"


def put_private(target: Target, run: Run, body: bytes) -> None:
    """Store the run's private object."""
    with errors.translated(f"storing the private texts of {run.id}"):
        target.client("s3").put_object(
            Bucket=run.bucket, Key=private_key(run), Body=body, CacheControl="no-store"
        )


def delete_private(target: Target, run: Run) -> str:
    """Delete all versions of the run's private object; return a warning if that fails."""
    from botocore.exceptions import BotoCoreError, ClientError

    s3, key = target.client("s3"), private_key(run)
    try:
        listed = s3.list_object_versions(Bucket=run.bucket, Prefix=key)
        for item in (*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())):
            s3.delete_object(Bucket=run.bucket, Key=key, VersionId=item["VersionId"])
    except (BotoCoreError, ClientError) as error:
        if errors.error_code(error) == "NoSuchBucket":
            return ""
        return f"could not delete s3://{run.bucket}/{key}, which contains secrets: {error}"
    return ""
