"""Spec of the Pulumi engine's state backend."""

from __future__ import annotations

from pydantic import field_validator

from emrctl.spec.types import Spec

CLOUD = "cloud"


class EngineSpec(Spec):
    """State backend and secrets provider of stacks on AWS; not used on localhost.

    `state` is a folder (relative to the project's), `s3://bucket/prefix`, or `cloud` for Pulumi
    Cloud. `secrets_provider` is `passphrase` or a key in Pulumi's notation
    (`awskms://alias/NAME?region=REGION`).
    """

    state: str = ".emrctl/pulumi"
    secrets_provider: str = "passphrase"

    @field_validator("state")
    @classmethod
    def _check_state(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not value or (separator and (scheme != "s3" or not rest.strip("/"))):
            raise ValueError(f"'{value}' is not a folder, s3://bucket/prefix or '{CLOUD}'")
        return value

    @field_validator("secrets_provider")
    @classmethod
    def _check_provider(cls, value: str) -> str:
        known = ("awskms", "azurekeyvault", "gcpkms", "hashivault")
        if value not in {"passphrase", "default"} and value.partition("://")[0] not in known:
            names = ", ".join(f"{name}://…" for name in known)
            raise ValueError(
                f"unknown secrets provider '{value}': use passphrase, default, {names}"
            )
        return value
