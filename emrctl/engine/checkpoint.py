"""What the embedded engine remembers of a stack, and who may change it.

A stack's state is one JSON file, `<stack>.json`, written aside and renamed after every step of
every resource: a process that is killed loses no id. Beside it lies `<stack>.lock`.
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

from emrctl.errors import ProvisioningError, StackLockedError
from emrctl.paths import write_atomically

VERSION = 1
# creating: asked for, no id yet · settling: has an id, not usable yet · updating: an update began
Status = Literal["creating", "settling", "updating", "done"]


@dataclass(kw_only=True)
class ResourceState:
    """One resource; `serial` grows along dependencies, so that deletion goes backwards."""

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
    """All that stands of a stack; `leftovers` were replaced, and still are to be deleted."""

    stack: str
    identity: str
    engine: str
    entries: dict[str, ResourceState] = field(default_factory=dict)
    leftovers: list[ResourceState] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    serial: int = 0

    def next_serial(self) -> int:
        """A number above all that were given."""
        self.serial += 1
        return self.serial

    def all(self) -> list[ResourceState]:
        """Everything that may exist, in the order in which it may be deleted."""
        every = [*self.entries.values(), *self.leftovers]
        return sorted(every, key=lambda entry: -entry.serial)

    def ids(self) -> set[tuple[str, str]]:
        """Type and id of all that is known to exist."""
        return {(entry.type, entry.id) for entry in self.all() if entry.id is not None}

    def forget(self, entry: ResourceState) -> None:
        """`entry` is no longer part of the stack."""
        if self.entries.get(entry.urn) is entry:
            del self.entries[entry.urn]
        self.leftovers = [other for other in self.leftovers if other is not entry]


class StateFolder:
    """The folder of all stacks' states; private to the user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, stack: str) -> Path:
        """Where the state of `stack` lies."""
        return self._folder / f"{stack}.json"

    def stacks(self) -> list[str]:
        """The names of all stacks that have a state."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def load(self, stack: str) -> Checkpoint | None:
        """What is known of `stack`; None where it never was."""
        path = self.path(stack)
        try:
            found = json.loads(path.read_text())
            return _state(found) if found["version"] == VERSION else _foreign(path, found)
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            hint = f"Move it away, and `emrctl local down` ends what it described: {path}"
            raise ProvisioningError(
                f"{path} is no state of a stack: {error!r}", hint=hint
            ) from error

    def save(self, state: Checkpoint) -> None:
        """The file holds `state`, whole, and nobody else may read it."""
        self._make()
        document = {"version": VERSION, **dataclasses.asdict(state)}
        # No fsync: the resources live in the memory of the emulator and are lost with the machine.
        write_atomically(self.path(state.stack), json.dumps(document, indent=1), 0o600)

    def remove(self, stack: str) -> None:
        """Nothing is known of `stack`."""
        self.path(stack).unlink(missing_ok=True)

    @contextlib.contextmanager
    def held(self, stack: str) -> Iterator[None]:
        """Nobody else changes `stack`; `StackLockedError` says who does, where somebody is."""
        self._make()
        path = self._folder / f"{stack}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # The kernel gives the lock back when its holder dies: there is no stale one.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise _locked(stack, path) from None
        try:
            os.truncate(handle, 0)
            os.write(handle, json.dumps(_holder()).encode())
            yield
        finally:
            os.truncate(handle, 0)
            os.close(handle)

    def _make(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            hint = "Make the project's folder writable: the stacks' states lie in it."
            raise ProvisioningError(f"cannot make {self._folder}: {error}", hint=hint) from error


def _state(found: dict[str, Any]) -> Checkpoint:
    fields = {key: value for key, value in found.items() if key != "version"}
    fields["entries"] = {urn: ResourceState(**entry) for urn, entry in found["entries"].items()}
    fields["leftovers"] = [ResourceState(**entry) for entry in found["leftovers"]]
    return Checkpoint(**fields)


def _foreign(path: Path, found: dict[str, Any]) -> Checkpoint:
    hint = "Use the emrctl that wrote it, or move the file away."
    raise ProvisioningError(f"{path} has version {found['version']}, not {VERSION}", hint=hint)


def _holder() -> dict[str, Any]:
    # Arguments may hold what is nobody's business: the program's and the verb's name do.
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]]).strip()
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"pid": os.getpid(), "command": command, "since": since}


def _locked(stack: str, path: Path) -> StackLockedError:
    try:
        holder = json.loads(path.read_text())
        who = f"process {holder['pid']} (`{holder['command']}`, since {holder['since']})"
    except (OSError, json.JSONDecodeError, KeyError):
        who = "another process"  # it has not written its name yet
    hint = "Wait until it ends, then run the same command again."
    return StackLockedError(f"stack {stack} is held by {who}", hint=hint)
