"""The state backend of Pulumi's engine: a folder, an S3 bucket or Pulumi Cloud."""

from __future__ import annotations

import os
import secrets
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emrctl import paths
from emrctl.aws.errors import error_code, get_or_none, translated
from emrctl.aws.s3 import bucket_exists
from emrctl.aws.target import Target
from emrctl.errors import CredentialsError, ProvisioningError
from emrctl.spec import EngineSpec

CLOUD_URL = "https://api.pulumi.com"
_PASSPHRASE_VARIABLES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")

_NO_ENCRYPTION = "ServerSideEncryptionConfigurationNotFoundError"
_NO_BLOCK = "NoSuchPublicAccessBlockConfiguration"
_BLOCK_ALL = dict.fromkeys(
    ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
)


@dataclass(frozen=True, kw_only=True)
class StateBackend:
    """A backend URL and the engine's working directory.

    `config` is the configuration of its stacks; `env` are additional environment variables.
    """

    url: str
    work: Path
    secrets_provider: str = "passphrase"
    config: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def create_folders(self) -> None:
        """Create its folders with access for the user only."""
        states = [Path(self.url.removeprefix("file://"))] if self.url.startswith("file:") else []
        try:
            for path in (*states, self.work):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot create {error.filename}: {error}"
            hint = "Make the project's folder writable: it holds the state files."
            raise ProvisioningError(msg, hint=hint) from error

    def checkpoint_path(self, project: str, stack: str) -> Path | None:
        """Return the path of a stack's checkpoint file; None if the backend is not a folder."""
        folder = self.url.removeprefix("file://")
        if folder == self.url:
            return None
        return Path(folder) / ".pulumi" / "stacks" / project / f"{stack}.json"

    def environment(self) -> dict[str, str]:
        """Return the environment variables for the engine."""
        variables = {**self.env, "PULUMI_BACKEND_URL": self.url}
        # `emrctl engine install` downloads plugins after confirmation.
        variables["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
        if self.secrets_provider == "passphrase" and not any(
            map(os.environ.get, _PASSPHRASE_VARIABLES)
        ):
            variables["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase_file())
        return variables


def local_backend(folder: Path) -> StateBackend:
    """Return the backend for stacks on localhost: a subfolder of `folder`."""
    return StateBackend(url=f"file://{folder.absolute()}", work=folder / "work")


def aws_backend(spec: EngineSpec, target: Target, root: Path) -> StateBackend:
    """Return the backend that the project configures for its stacks on AWS."""
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
    """Return the file with the passphrase that encrypts secrets; create it if missing."""
    path = paths.home() / "passphrase"
    if path.exists():
        return path
    try:
        paths.create_private(path, secrets.token_urlsafe(32).encode())
    except OSError as error:
        hint = "Make it writable, or set EMRCTL_HOME or PULUMI_CONFIG_PASSPHRASE_FILE."
        raise ProvisioningError(f"cannot write {path}: {error.strerror}", hint=hint) from error
    return path


def backend_exists(target: Target, url: str) -> bool:
    """Whether the backend exists; the first `up` creates the bucket of an `s3://` URL."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "s3":
        return True
    with translated(f"finding the state bucket {parts.netloc}"):
        return _bucket_exists(target.client("s3"), parts.netloc)


def ensure_bucket(target: Target, url: str) -> list[str]:
    """Create and secure the bucket of an `s3://` URL; return the actions that were needed."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "s3":
        return []
    s3, bucket, actions = target.client("s3"), parts.netloc, []
    with translated(f"checking the state bucket {bucket}"):
        if not _bucket_exists(s3, bucket):
            location = {"CreateBucketConfiguration": {"LocationConstraint": target.region}}
            s3.create_bucket(Bucket=bucket, **({} if target.region == "us-east-1" else location))
            actions.append("created")
        if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
            enabled = {"Status": "Enabled"}
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
            actions.append("versioned")
        if get_or_none(lambda: s3.get_bucket_encryption(Bucket=bucket), _NO_ENCRYPTION) is None:
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            rules = {"Rules": [rule]}
            s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)
            actions.append("encrypted")
        block = get_or_none(lambda: s3.get_public_access_block(Bucket=bucket), _NO_BLOCK)
        if block is None or block["PublicAccessBlockConfiguration"] != _BLOCK_ALL:
            s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=_BLOCK_ALL)
            actions.append("closed to the public")
    return actions


def _bucket_exists(s3: Any, bucket: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        return bucket_exists(s3, bucket)
    except ClientError as error:
        if error_code(error) != "403":
            raise
        msg = f"no access to the state bucket {bucket}: it belongs to another account"
        hint = "Set another bucket in engine.state of emrctl.yaml."
        raise CredentialsError(msg, hint=hint) from error
