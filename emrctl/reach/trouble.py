"""What keeps one from a node, in the words of `emrctl.errors`."""

from __future__ import annotations

from emrctl.errors import CredentialsError, ProvisioningError


class UnreachableError(ProvisioningError):
    """This way does not lead to the node; another may."""


class HostKeyError(CredentialsError):
    """Whoever answers cannot show to be the node: no other way is tried silently."""
