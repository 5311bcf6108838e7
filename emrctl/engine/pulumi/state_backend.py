"""Where the real engine's states lie, and what keeps them from others' eyes."""

from __future__ import annotations

import os
import secrets
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emrctl import paths
from emrctl.aws.errors import get_or_none, translated
from emrctl.aws.target import Target
from emrctl.errors import CredentialsError, ProvisioningError
from emrctl.spec import EngineSpec

CLOUD_URL = "https://api.pulumi.com"
_GIVEN = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


@dataclass(frozen=True, kw_only=True)
class StateBackend:
    """A backend of Pulumi's, and the folder in which the engine is run.

    `config` are the stacks' own settings; `env` is what the engine's process sees besides.
    """

    url: str
    work: Path
    secrets_provider: str = "passphrase"
    config: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def made(self) -> StateBackend:
        """The same place, once its folders are there and nobody else may read them."""
        states = [Path(self.url.removeprefix("file://"))] if self.url.startswith("file:") else []
        try:
            for path in (*states, self.work):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            hint = "Make the project's folder writable: the stacks' states lie in it."
            raise ProvisioningError(f"cannot make {error.filename}: {error}", hint=hint) from error
        return self

    def checkpoint(self, project: str, stack: str) -> Path | None:
        """The file with a stack's state, where the place is a folder."""
        folder = self.url.removeprefix("file://")
        if folder == self.url:
            return None
        return Path(folder) / ".pulumi" / "stacks" / project / f"{stack}.json"

    def environment(self) -> dict[str, str]:
        """What the engine must be told: where its states lie, and how to read their secrets."""
        found = {**self.env, "PULUMI_BACKEND_URL": self.url}
        # What nobody has agreed to is not downloaded: `emrctl engine install` asks.
        found["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
        if self.secrets_provider == "passphrase" and not any(map(os.environ.get, _GIVEN)):
            found["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase_file())
        return found


def local_backend(folder: Path) -> StateBackend:
    """The place for stacks on localhost, which end with the emulator: below `folder`."""
    return StateBackend(url=f"file://{folder.absolute()}", work=folder / "work")


def aws_backend(spec: EngineSpec, target: Target, root: Path) -> StateBackend:
    """The place that a project chose for its stacks on AWS."""
    settings = target.pulumi_settings()
    return StateBackend(
        url=_url(spec, target, root),
        work=root / ".emrctl" / "pulumi" / "work",
        secrets_provider=spec.secrets_provider,
        config={f"aws:{key}": settings[key] for key in ("region", "profile") if key in settings},
        env={"AWS_PROFILE": target.profile} if target.profile else {},
    )


def _url(spec: EngineSpec, target: Target, root: Path) -> str:
    if spec.state == "cloud":
        return CLOUD_URL
    if spec.state.startswith("s3://"):
        mark = "&" if "?" in spec.state else "?"
        return f"{spec.state}{mark}region={target.region}&awssdk=v2"
    return f"file://{(root / Path(spec.state).expanduser()).absolute()}"


def passphrase_file() -> Path:
    """The file with the passphrase that encrypts secrets, made once; for its user alone."""
    path = paths.home() / "passphrase"
    if path.exists():
        return path
    try:
        paths.create_private(path, secrets.token_urlsafe(32).encode())
    except OSError as error:
        hint = "Make it writable, or set EMRCTL_HOME, or PULUMI_CONFIG_PASSPHRASE_FILE."
        raise ProvisioningError(f"cannot write {path}: {error.strerror}", hint=hint) from error
    return path


def is_there(target: Target, url: str) -> bool:
    """Whether the place can be asked: the bucket of an `s3://` one is made by the first `up`."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "s3":
        return True
    with translated(f"looking for the bucket {parts.netloc} of the engine's state"):
        return _there(target.client("s3"), parts.netloc)


def make_safe(target: Target, url: str) -> list[str]:
    """What was done so that the bucket of an `s3://` place is there, private and versioned."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "s3":
        return []
    s3, bucket = target.client("s3"), parts.netloc
    with translated(f"looking at the bucket {bucket} for the engine's state"):
        done = [] if _there(s3, bucket) else [_create(s3, bucket, target.region)]
        done += [words for words in (_versioned(s3, bucket), _encrypted(s3, bucket)) if words]
        return done + [words for words in (_private(s3, bucket),) if words]


def _there(s3: Any, bucket: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        return get_or_none(lambda: s3.head_bucket(Bucket=bucket), "404", "NoSuchBucket") is not None
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "403":
            raise
        msg = f"the bucket {bucket} for the engine's state is not yours"
        hint = "Choose another name in emrctl.yaml: engine.state."
        raise CredentialsError(msg, hint=hint) from error


def _create(s3: Any, bucket: str, region: str) -> str:
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else place))
    return "created"


def _versioned(s3: Any, bucket: str) -> str:
    if s3.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled":
        return ""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return "versioned"


def _encrypted(s3: Any, bucket: str) -> str:
    missing = "ServerSideEncryptionConfigurationNotFoundError"
    if get_or_none(lambda: s3.get_bucket_encryption(Bucket=bucket), missing) is not None:
        return ""
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return "encrypted"


def _private(s3: Any, bucket: str) -> str:
    names = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    wanted = dict.fromkeys(names, True)
    found = get_or_none(
        lambda: s3.get_public_access_block(Bucket=bucket), "NoSuchPublicAccessBlockConfiguration"
    )
    if found is not None and found["PublicAccessBlockConfiguration"] == wanted:
        return ""
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=wanted)
    return "closed to the public"
