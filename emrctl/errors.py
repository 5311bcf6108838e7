"""Errors that a user can act on, with their exit codes; an `EmrctlError` itself is a bug."""

from __future__ import annotations

import re

# Modules of packages with another name.
_PACKAGES = {"sklearn": "scikit-learn", "PIL": "pillow"}


class EmrctlError(Exception):
    """An error with a message and a hint; the CLI prints both without a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Store `message`, what failed and why, and `hint`, a command or setting that fixes it."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(EmrctlError):
    """Invalid flag, file or key."""

    exit_code = 2


class SpecError(UsageError):
    """The spec describes a cluster that cannot exist."""


class NotFoundError(EmrctlError):
    """No cluster, run, job or bucket has that name."""

    exit_code = 3


class CredentialsError(EmrctlError):
    """Credentials are missing or rejected."""

    exit_code = 4


class HostKeyError(CredentialsError):
    """The host key could not be verified; no other method is tried."""


class NoConsoleOutputError(HostKeyError):
    """The node's console shows no host keys yet; it may after the node has booted."""


class ProvisioningError(EmrctlError):
    """A stack could not be created, updated or deleted."""

    exit_code = 5


class DiskError(EmrctlError):
    """A file could not be written: the disk is full or the folder is read-only."""

    exit_code = 5


class StackLockedError(ProvisioningError):
    """Another process is updating the stack."""


class UnavailableError(ProvisioningError):
    """AWS throttled the call or a host was not reached; the same call may succeed later."""


class UnreachableError(ProvisioningError):
    """This method cannot reach the node; another may."""


class MissingPrerequisiteError(UnreachableError):
    """This machine lacks something that the method needs; retrying does not help."""


class NoKeyError(MissingPrerequisiteError):
    """No private key for the node is on this machine."""


class StepFailedError(EmrctlError):
    """The step ended in a state other than COMPLETED."""

    exit_code = 6


class WaitTimeoutError(EmrctlError):
    """The operation timed out."""

    exit_code = 7


class GateError(EmrctlError):
    """A comparison exceeds its --fail-if limit."""

    exit_code = 8


class InconclusiveGateError(GateError):
    """The repeats do not show whether a comparison exceeded a limit of `--fail-if`."""

    exit_code = 9


class DamagedFileError(EmrctlError):
    """A file of the store cannot be read, or its content is not valid.

    `damaged` means that the content was read; otherwise the file could not be opened. `newer` means
    that a newer emrctl wrote it.
    """

    exit_code = 10

    def __init__(
        self, location: str, reason: str, *, damaged: bool = True, newer: bool = False
    ) -> None:
        """Store the path or URI of the file, and why it cannot be used."""
        hint = "Use a newer emrctl." if newer else "Show all problems with `emrctl runs check`."
        super().__init__(f"cannot read {location}: {reason}", hint=hint)
        self.location = location
        self.reason = reason
        self.damaged = damaged
        self.newer = newer


def extras() -> dict[str, list[str]]:
    """Return the packages of each extra of emrctl, from its metadata."""
    from importlib import metadata

    found: dict[str, list[str]] = {}
    for line in metadata.requires("emrctl") or ():
        match = re.match(r"([\w.-]+).*;.*extra == ['\"](\w+)['\"]", line)
        if match:
            found.setdefault(match[2], []).append(match[1])
    return found


def missing_package(error: ModuleNotFoundError) -> UsageError | None:
    """Return an error that names the extra of the missing module; None if no extra has it."""
    module = str(error.name).partition(".")[0]
    package = _PACKAGES.get(module, module)
    names = [extra for extra, packages in extras().items() if package in packages]
    if not names:
        return None
    hint = f"pip install 'emrctl[{names[0]}]'"
    return UsageError(f"{package} is not installed", hint=f"Install it with: {hint}")
