"""Conversion of the engine's events and errors to emrctl's."""

from __future__ import annotations

import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

from emrctl.aws.errors import translate_code
from emrctl.aws.target import process_exists
from emrctl.engine.base import Event, Operation, Report, ResourceChange
from emrctl.engine.localhost.provider import short
from emrctl.engine.pulumi.snapshot import ROOT, name_of
from emrctl.errors import CredentialsError, EmrctlError, ProvisioningError, StackLockedError

# Operations of the engine that change resources. A `replace` only precedes its two halves.
_EXECUTED: dict[str, Operation] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "create-replacement": "replace",
    "delete-replaced": "delete",
    "import": "import",
}
_PLANNED: dict[str, Operation] = {name: name for name in get_args(Operation)}
_COLORS = re.compile(r"<\{%[^%]*%\}>")
# The AWS plugin's format of AWS's errors.
_AWS = re.compile(
    r"operation error (?P<service>[\w ]+): (?P<call>\w+)"
    r"(?:, exceeded maximum number of attempts, \d+)?"
    r"(?:, https response error StatusCode: (?P<status>\d+))?"
    r"(?:, RequestID: [^,]*)?(?:, HostID: [^,]*)?, (?:api error )?(?P<code>\w+): ?(?P<text>.*)",
    re.DOTALL,
)
_LOCK = re.compile(r"created by (?P<user>\S+)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<since>\S+)")


class EventListener:
    """Collects the engine's events: `planned` and executed `changes`, and `errors` by URN."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._began: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self.planned: list[ResourceChange] = []
        self.changes: list[ResourceChange] = []
        self.errors: list[tuple[str, str]] = []

    def handle(self, event: Any) -> None:
        """Handle one event; those of the stack itself and of providers are ignored."""
        with self._lock:
            if event.resource_pre_event is not None:
                self._on_step(event.resource_pre_event, self.planned, "started")
            elif event.res_outputs_event is not None:
                self._on_step(event.res_outputs_event, self.changes, "done")
            elif event.res_op_failed_event is not None:
                self._send(event.res_op_failed_event, "failed")
            elif event.diagnostic_event is not None:
                diagnostic = event.diagnostic_event
                if diagnostic.severity == "error":
                    message = _COLORS.sub("", diagnostic.message).strip()
                    self.errors.append((diagnostic.urn or "", message))

    def error_of(self, urn: str) -> str:
        """Return the error messages of a resource."""
        return " ".join(message for other, message in self.errors if other == urn)

    def _on_step(
        self, event: Any, changes: list[ResourceChange], status: Literal["started", "done"]
    ) -> None:
        step = event.metadata
        if step.op.value in _PLANNED and not _is_internal(step):
            changes.append(_change(_PLANNED[step.op.value], step))
        if not event.planning:
            self._send(event, status)

    def _send(self, event: Any, status: Literal["started", "done", "failed"]) -> None:
        step = event.metadata
        operation = _EXECUTED.get(step.op.value)
        if operation is None or _is_internal(step):
            return
        seconds = None
        if status == "started":
            self._began[step.urn, step.op.value] = time.monotonic()
        elif began := self._began.pop((step.urn, step.op.value), None):
            seconds = time.monotonic() - began
        self._report(
            Event(
                operation=operation,
                type=step.type,
                name=name_of(step.urn),
                status=status,
                seconds=seconds,
                message=self.error_of(step.urn) if status == "failed" else "",
            )
        )


def _is_internal(step: Any) -> bool:
    """Whether the step is of the stack itself or of a provider."""
    return str(step.type).startswith("pulumi:")


def _change(operation: Operation, step: Any) -> ResourceChange:
    state = step.new if step.new is not None and step.new.id else step.old
    keys: Any = ()
    if operation == "replace":
        keys = step.keys
    elif operation == "update":
        keys = step.detailed_diff or step.diffs
    return ResourceChange(
        operation=operation,
        type=step.type,
        name=name_of(step.urn),
        id=(state.id or None) if state is not None else None,
        keys=tuple(sorted(keys or ())),
    )


def drift(changes: list[ResourceChange]) -> tuple[ResourceChange, ...]:
    """Return the updates and deletions of a refresh."""
    return tuple(change for change in changes if change.operation in {"update", "delete"})


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
        return self.host == socket.gethostname() and not process_exists(self.pid)


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
