"""State files of the embedded engine, and the lock of a stack.

A stack's state is one JSON file, `<stack>.json`, replaced after every step of every resource, so
that a killed process loses no id. The lock file is `<stack>.lock`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emrctl.aws.target import Target
from emrctl.errors import ProvisioningError, StackLockedError
from emrctl.paths import write_atomically

VERSION = 1
# creating: requested, no id yet; settling: has an id, not usable yet; updating: update started
Status = Literal["creating", "settling", "updating", "done"]


class StateFileError(ProvisioningError):
    """A state file could not be written, e.g. because the disk is full."""


@dataclass(kw_only=True)
class ResourceState:
    """One resource; dependents have a higher `serial` and are deleted first."""

    urn: str
    type: str
    name: str
    serial: int
    status: Status = "creating"
    id: str | None = None
    protect: bool = False
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Checkpoint:
    """All resources of a stack; `leftovers` were replaced and are still to be deleted."""

    stack: str
    identity: str
    engine: str
    entries: dict[str, ResourceState] = field(default_factory=dict)
    leftovers: list[ResourceState] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    serial: int = 0

    def is_gone(self, target: Target) -> bool:
        """Return whether the stack was created on another target, such as a stopped emulator."""
        return self.identity != target.stack_identity(self.stack)

    def next_serial(self) -> int:
        """Return a serial above all others."""
        self.serial += 1
        return self.serial

    def all(self) -> list[ResourceState]:
        """Return all resources in the order of deletion."""
        resources = [*self.entries.values(), *self.leftovers]
        return sorted(resources, key=lambda resource: -resource.serial)

    def ids(self) -> set[tuple[str, str]]:
        """Return type and id of each resource that has an id."""
        return {(resource.type, resource.id) for resource in self.all() if resource.id is not None}

    def remove(self, resource: ResourceState) -> None:
        """Remove the resource from the stack."""
        if self.entries.get(resource.urn) is resource:
            del self.entries[resource.urn]
        self.leftovers = [other for other in self.leftovers if other is not resource]


class StateFolder:
    """The folder of all state files; only the user can read it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, stack: str) -> Path:
        """Return the path of the stack's state file."""
        return self._folder / f"{stack}.json"

    def stacks(self) -> list[str]:
        """Return the names of all stacks that have a state file."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def load(self, stack: str) -> Checkpoint | None:
        """Return the state of `stack`; None if it has no state file."""
        path = self.path(stack)
        try:
            document = json.loads(path.read_text())
            version = document.pop("version")
            if version == VERSION:
                return _checkpoint(document)
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            hint = f"Move {path} away; `emrctl local down` deletes the resources on localhost."
            msg = f"{path} is not a state file: {error!r}"
            raise ProvisioningError(msg, hint=hint) from error
        hint = "Use the emrctl version that wrote it, or move the file away."
        raise ProvisioningError(f"{path} has version {version}, not {VERSION}", hint=hint)

    def save(self, state: Checkpoint) -> None:
        """Replace the stack's state file; raises `StateFileError` if it cannot be written."""
        self._create()
        document = {"version": VERSION, **dataclasses.asdict(state)}
        path = self.path(state.stack)
        try:
            # No fsync: most resources are in the emulator's memory, which a crash ends too.
            write_atomically(path, json.dumps(document, indent=1), 0o600)
        except OSError as error:
            hint = "Free disk space, then run the command again: it continues."
            raise StateFileError(f"cannot write {path}: {error.strerror}", hint=hint) from error

    def remove(self, stack: str) -> None:
        """Delete the stack's state file."""
        self.path(stack).unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, stack: str) -> Iterator[None]:
        """Hold the stack's lock; raise `StackLockedError` if another process holds it."""
        self._create()
        path = self._folder / f"{stack}.lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            hint = "Free disk space, or make the folder writable."
            raise StateFileError(f"cannot open {path}: {error.strerror}", hint=hint) from error
        try:
            # The kernel releases the lock when its holder dies.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise _locked(stack, path) from None
        try:
            os.truncate(handle, 0)
            # Only the program and the subcommand: further arguments may be secret.
            command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]]).strip()
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            holder = {"pid": os.getpid(), "command": command, "since": since}
            with contextlib.suppress(OSError):  # on a full disk the lock still works
                os.write(handle, json.dumps(holder).encode())
            yield
        finally:
            os.truncate(handle, 0)
            os.close(handle)

    def _create(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            hint = "Make the project's folder writable: it holds the state files."
            raise ProvisioningError(f"cannot create {self._folder}: {error}", hint=hint) from error


def _checkpoint(document: dict[str, Any]) -> Checkpoint:
    entries = {urn: ResourceState(**entry) for urn, entry in document.pop("entries").items()}
    leftovers = [ResourceState(**entry) for entry in document.pop("leftovers")]
    return Checkpoint(**document, entries=entries, leftovers=leftovers)


def _locked(stack: str, path: Path) -> StackLockedError:
    try:
        holder = json.loads(path.read_text())
        process = f"process {holder['pid']} (`{holder['command']}`, since {holder['since']})"
    except (OSError, json.JSONDecodeError, KeyError):
        process = "another process"  # it has not written its pid yet
    hint = "Wait until it has ended, then run the command again."
    return StackLockedError(f"stack {stack} is locked by {process}", hint=hint)
