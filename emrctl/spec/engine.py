"""Where the real engine keeps what it knows of the stacks on AWS."""

from __future__ import annotations

from pydantic import field_validator

from emrctl.spec.types import Spec

CLOUD = "cloud"


class EngineSpec(Spec):
    """Where the state of stacks on AWS lies, and what encrypts secrets in it.

    `state` is a folder (relative ones count from the project's), `s3://bucket/prefix`, or `cloud`,
    Pulumi's own service. `secrets_provider` is `passphrase` or a key as Pulumi names it
    (`awskms://alias/NAME?region=REGION`). On localhost neither matters: what stands there ends
    with the emulator.
    """

    state: str = ".emrctl/pulumi"
    secrets_provider: str = "passphrase"

    @field_validator("state")
    @classmethod
    def _known_place(cls, value: str) -> str:
        scheme, found, rest = value.partition("://")
        if not value or (found and (scheme != "s3" or not rest.strip("/"))):
            raise ValueError(f"'{value}' is no folder, no s3://bucket/prefix and not '{CLOUD}'")
        return value

    @field_validator("secrets_provider")
    @classmethod
    def _known_provider(cls, value: str) -> str:
        known = ("awskms", "azurekeyvault", "gcpkms", "hashivault")
        if value not in {"passphrase", "default"} and value.partition("://")[0] not in known:
            names = ", ".join(f"{name}://…" for name in known)
            raise ValueError(f"'{value}' is no secrets provider: passphrase, default, {names}")
        return value
