"""Conversion of the engine's error output to emrctl's errors."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass

from emrctl.aws.errors import translate_code
from emrctl.engine.localhost.provider import short
from emrctl.engine.pulumi.events import EventListener
from emrctl.engine.pulumi.snapshot import ROOT, name_of
from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError, StackLockedError

# The AWS plugin's format of AWS's errors.
_AWS = re.compile(
    r"operation error (?P<service>[\w ]+): (?P<call>\w+)"
    r"(?:, exceeded maximum number of attempts, \d+)?"
    r"(?:, https response error StatusCode: (?P<status>\d+))?"
    r"(?:, RequestID: [^,]*)?(?:, HostID: [^,]*)?, (?:api error )?(?P<code>\w+): ?(?P<text>.*)",
    re.DOTALL,
)
_LOCK = re.compile(r"created by (?P<user>\S+)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<since>\S+)")


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """The process that holds a stack's lock, from Pulumi's lock file."""

    user: str
    host: str
    pid: int
    since: str

    @property
    def dead(self) -> bool:
        """Whether it was a process of this machine that has ended."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def lock_holder(output: str) -> LockHolder | None:
    """Return the lock's holder if the engine's output names it."""
    match = _LOCK.search(output)
    if match is None:
        return None
    pid = int(match["pid"])
    return LockHolder(user=match["user"], host=match["host"], pid=pid, since=match["since"])


def locked(stack: str, output: str) -> StackLockedError:
    """Return the error for a stack that another process is updating."""
    holder = lock_holder(output)
    process = "another process"
    if holder is not None:
        process = f"process {holder.pid} of {holder.user} on {holder.host} since {holder.since}"
    hint = "Wait until it has ended, then run the command again."
    return StackLockedError(f"stack {stack} is locked by {process}", hint=hint)


def resource_errors(listener: EventListener) -> list[EmrctlError]:
    """Return one error per failed resource."""
    urns = dict.fromkeys(urn for urn, _ in listener.errors if urn and ROOT not in urn)
    return [_resource_error(urn, listener.error_of(urn)) for urn in urns]


def _resource_error(urn: str, message: str) -> EmrctlError:
    resource = f"{short(urn.split('::')[2].rpartition('$')[2])} '{name_of(urn)}'"
    match = _AWS.search(message)
    if match is not None:
        text, status = " ".join(match["text"].split()), int(match["status"] or 400)
        return translate_code(f"{resource}: {match['call']}", match["code"], text, status)
    if "protect" in message.lower():
        replaced = "replace" in message
        why = "the program would replace it" if replaced else "it is no longer declared"
        hint = "`emrctl down --storage` deletes it."
        return ProvisioningError(f"{resource} is protected: {why}", hint=hint)
    return ProvisioningError(f"{resource}: {' '.join(message.split())}")


_PATTERNS = (
    (
        re.compile(r"incorrect passphrase|passphrase must be set", re.IGNORECASE),
        ProvisioningError,
        "the stack's state was encrypted with another passphrase",
        "Set PULUMI_CONFIG_PASSPHRASE_FILE to its creator's file, or use awskms:// keys.",
    ),
    (
        re.compile(r"no resource plugin 'pulumi-resource-aws'|plugin .*aws.* not found"),
        ProvisioningError,
        "Pulumi's AWS plugin is not installed",
        "Run `emrctl engine install`.",
    ),
    (
        re.compile(r"NoCredentialProviders|no EC2 IMDS role|failed to refresh cached credentials"),
        CredentialsError,
        "Pulumi's engine could not load AWS credentials",
        "Run `aws sso login`, or set AWS_PROFILE.",
    ),
    (
        re.compile(r"PULUMI_ACCESS_TOKEN must be set|invalid access token|401.*Unauthorized"),
        CredentialsError,
        "not logged in to Pulumi Cloud",
        "Set PULUMI_ACCESS_TOKEN, or another engine.state in emrctl.yaml.",
    ),
    (
        re.compile(r"could not (?:access|open|read) .*bucket|unable to open bucket|NoSuchBucket"),
        ProvisioningError,
        "Pulumi's engine cannot access the state bucket",
        "Check engine.state in emrctl.yaml; `emrctl up` creates the bucket.",
    ),
)


def engine_error(output: str) -> EmrctlError:
    """Return the error for a failure that belongs to no resource."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    last = (errors or lines or ["no output"])[-1].removeprefix("error:").strip()
    for pattern, family, meaning, hint in _PATTERNS:
        if pattern.search(output):
            return family(f"{meaning} ({last})", hint=hint)
    return ProvisioningError(f"Pulumi's engine failed: {last}")
