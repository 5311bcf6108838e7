"""Every failure that a user can act on.

EmrctlError                    1   (a bug, where it is raised bare)
├── UsageError                 2   a flag, a file or a key is wrong
│   └── SpecError                  a spec asks for something no cluster can be
├── NotFoundError              3   no cluster, run, job or bucket of that name
├── CredentialsError           4   AWS does not know the caller, or refuses it
├── ProvisioningError          5   a stack could not be brought up or down
│   └── StackLockedError           somebody else is at work on the same stack
├── StepFailedError            6   the step ended, but not in COMPLETED
├── WaitTimeoutError           7   it did not end in the time that was given
└── GateError                  8   a comparison is worse than it may be
"""

from __future__ import annotations


class EmrctlError(Exception):
    """A failure with a sentence for the user; the CLI prints it without a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep `message`, what is the case, and `hint`, what to type next."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(EmrctlError):
    """A flag, a file or a key is wrong."""

    exit_code = 2


class SpecError(UsageError):
    """A spec asks for something no cluster can be."""


class NotFoundError(EmrctlError):
    """There is no cluster, run, job or bucket of that name."""

    exit_code = 3


class CredentialsError(EmrctlError):
    """AWS does not know the caller, or refuses it."""

    exit_code = 4


class ProvisioningError(EmrctlError):
    """A stack could not be brought up or down."""

    exit_code = 5


class StackLockedError(ProvisioningError):
    """Somebody else is at work on the same stack."""


class StepFailedError(EmrctlError):
    """The step ended, but not in COMPLETED."""

    exit_code = 6


class WaitTimeoutError(EmrctlError):
    """It did not end in the time that was given."""

    exit_code = 7


class GateError(EmrctlError):
    """A comparison is worse than it may be."""

    exit_code = 8
