"""Errors of connections to nodes."""

from __future__ import annotations

from emrctl.errors import CredentialsError, ProvisioningError


class UnreachableError(ProvisioningError):
    """This method cannot reach the node; another may."""


class MissingPrerequisiteError(UnreachableError):
    """This machine lacks something that the method needs; retrying does not help."""


class NoKeyError(MissingPrerequisiteError):
    """No private key for the node is on this machine."""


class HostKeyError(CredentialsError):
    """The host key could not be verified; no other method is tried."""


class NoConsoleOutputError(HostKeyError):
    """The node's console shows no host keys yet; it may after the node has booted."""
