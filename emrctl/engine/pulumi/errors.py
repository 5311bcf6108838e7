"""What the engine says when it fails, in our words: which resource, what AWS said, what to do."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass

from emrctl.aws.errors import translate_code
from emrctl.engine.pulumi.events import EventListener, label
from emrctl.engine.pulumi.snapshot import name_of
from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError, StackLockedError

# What the AWS plugin makes of an error of AWS.
_AWS = re.compile(
    r"operation error (?P<service>[\w ]+): (?P<call>\w+)"
    r"(?:, exceeded maximum number of attempts, \d+)?"
    r"(?:, https response error StatusCode: (?P<status>\d+))?"
    r"(?:, RequestID: [^,]*)?(?:, HostID: [^,]*)?, (?:api error )?(?P<code>\w+): ?(?P<words>.*)",
    re.DOTALL,
)
_LOCK = re.compile(r"created by (?P<who>\S+)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<since>\S+)")
_PROTECTED = re.compile(r"protect", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """Who holds a stack, as Pulumi's lock file names them."""

    who: str
    host: str
    pid: int
    since: str

    @property
    def dead(self) -> bool:
        """Whether it was a process of this machine that is no more."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def holder(said: str) -> LockHolder | None:
    """Who holds the stack, where the engine said so."""
    found = _LOCK.search(said)
    if found is None:
        return None
    return LockHolder(
        who=found["who"], host=found["host"], pid=int(found["pid"]), since=found["since"]
    )


def locked(stack: str, said: str) -> StackLockedError:
    """Somebody else is at work on the stack, from here or elsewhere."""
    found = holder(said)
    who = "somebody else"
    if found is not None:
        who = f"process {found.pid} of {found.who} on {found.host} since {found.since}"
    hint = "Wait until it ends, then run the same command again."
    return StackLockedError(f"stack {stack} is held by {who}", hint=hint)


def told(heard: EventListener) -> list[EmrctlError]:
    """Each failure that the engine told of a resource."""
    urns = list(dict.fromkeys(urn for urn, _ in heard.errors if _names_a_resource(urn)))
    return [_of_resource(urn, heard.said(urn)) for urn in urns]


def _names_a_resource(urn: str) -> bool:
    return bool(urn) and "pulumi:pulumi:Stack" not in urn


def _of_resource(urn: str, said: str) -> EmrctlError:
    what = label(urn.split("::")[2].rpartition("$")[2], name_of(urn))
    found = _AWS.search(said)
    if found is not None:
        doing = f"{what}: {found['call']}"
        words = " ".join(found["words"].split())
        return translate_code(doing, found["code"], words, int(found["status"] or 400))
    if _PROTECTED.search(said):
        replaced = "replace" in said
        why = "the program would replace it" if replaced else "the program has it no more"
        msg = f"{what} is protected: {why}"
        return ProvisioningError(msg, hint="`emrctl down --storage` deletes it.")
    return ProvisioningError(f"{what}: {' '.join(said.split())}")


_WORDS = (
    (
        re.compile(r"incorrect passphrase|passphrase must be set", re.IGNORECASE),
        ProvisioningError,
        "the stack's state was encrypted with another passphrase",
        "Set PULUMI_CONFIG_PASSPHRASE_FILE to the file of who made it, or use awskms:// keys.",
    ),
    (
        re.compile(r"no resource plugin 'pulumi-resource-aws'|plugin .*aws.* not found"),
        ProvisioningError,
        "the engine has no AWS plugin",
        "Type `emrctl engine install`.",
    ),
    (
        re.compile(r"NoCredentialProviders|no EC2 IMDS role|failed to refresh cached credentials"),
        CredentialsError,
        "the engine found no AWS credentials",
        "Run `aws sso login`, or set AWS_PROFILE.",
    ),
    (
        re.compile(r"PULUMI_ACCESS_TOKEN must be set|invalid access token|401.*Unauthorized"),
        CredentialsError,
        "Pulumi Cloud does not know the caller",
        "Set PULUMI_ACCESS_TOKEN, or choose another engine.state in emrctl.yaml.",
    ),
    (
        re.compile(r"could not (?:access|open|read) .*bucket|unable to open bucket|NoSuchBucket"),
        ProvisioningError,
        "the engine cannot reach the bucket of its state",
        "Look at engine.state in emrctl.yaml; `emrctl up` makes the bucket.",
    ),
)


def of_engine(said: str) -> EmrctlError:
    """A failure that belongs to no resource: what the engine said, and what it means."""
    for pattern, family, words, hint in _WORDS:
        if pattern.search(said):
            return family(f"{words} ({_last(said)})", hint=hint)
    return ProvisioningError(f"the engine failed: {_last(said)}")


def _last(said: str) -> str:
    """The line that says what went wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("error:")]
    return (told or lines or ["it said nothing"])[-1].removeprefix("error:").strip()
