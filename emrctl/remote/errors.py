"""What keeps one from a node, in the words of `emrctl.errors`."""

from __future__ import annotations

from emrctl.errors import CredentialsError, ProvisioningError


class UnreachableError(ProvisioningError):
    """This way does not lead to the node; another may."""


class HopelessError(UnreachableError):
    """This machine lacks what it takes: waiting does not help."""


class NoKeyError(HopelessError):
    """No key is here that the node would take."""


class HostKeyError(CredentialsError):
    """Whoever answers cannot show to be the node: no other way is tried silently."""


class SilentConsoleError(HostKeyError):
    """The node's console has not named its keys yet: on a node that boots, it may in a while."""
