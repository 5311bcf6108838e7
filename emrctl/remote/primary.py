"""Run commands on the primary of an EC2 cluster, given its instance id."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emrctl.aws.errors import translated
from emrctl.aws.listing import instances, tags
from emrctl.errors import UnavailableError
from emrctl.remote import nodes
from emrctl.remote.errors import MissingPrerequisiteError, UnreachableError
from emrctl.remote.nodes import Login

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Node
    from emrctl.remote.ssh import SshConnection


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """Exit code and output of a command on the primary."""

    code: int
    out: bytes
    err: bytes


@dataclass(eq=False)
class PrimaryConnection:
    """Runs commands on the primary with that id, over one connection that stays open."""

    target: Target
    id: str
    login: Login = field(default_factory=Login)
    _connection: SshConnection | None = None
    _node: Node | None = None

    def run(self, command: str, stdin: bytes = b"") -> CommandResult:
        """Run the command on the primary; raises `UnavailableError` if it cannot be reached now.

        Raises `MissingPrerequisiteError` if this machine cannot connect at all.
        """
        out, err = io.BytesIO(), io.BytesIO()
        try:
            code = self.connection().run(command, out, err, stdin)
        except MissingPrerequisiteError:
            raise
        except UnreachableError as error:
            self.close()  # its address may have changed
            raise UnavailableError(error.message, hint=error.hint) from error
        return CommandResult(code=code, out=out.getvalue(), err=err.getvalue())

    def connection(self) -> SshConnection:
        """Return the connection; raises `UnreachableError` if it has no address or key."""
        if self._connection is not None and self._connection.lost:
            # The instance may be terminated or have another address: ask EC2 before reconnecting.
            self.close()
        if self._connection is None:
            instance = _describe(self.target, self.id)
            self._node = _node(instance)
            self._connection = _connect(self.target, self._node, instance, self.login)
        return self._connection

    @property
    def private_ip(self) -> str:
        """Its private address, where the pages of master and drivers listen."""
        self.connection()
        return self._node.private_ip if self._node is not None else ""

    def close(self) -> None:
        """Close the connection; the next command opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _node(instance: dict[str, Any]) -> Node:
    from emrctl.clusters import ec2

    state = instance["State"]["Name"]
    if state != "running":
        raise UnreachableError(f"the primary {instance['InstanceId']} is {state}")
    return ec2.to_node(instance)


def _connect(target: Target, node: Node, instance: dict[str, Any], login: Login) -> SshConnection:
    connection = nodes.connection_to(target, node, login)
    if login.identity is not None:
        connection.identities = (login.identity.expanduser(),)
    else:
        stack = tags(instance).get("emrctl:stack", "")
        connection.identities = nodes.own_keys(stack, instance.get("KeyName"))
    return connection


def _describe(target: Target, id_: str) -> dict[str, Any]:
    from botocore.exceptions import ClientError

    with translated(f"reading the address of {id_}"):
        try:
            [instance] = instances(target.client("ec2"), InstanceIds=[id_])
        except ClientError as error:
            if error.response["Error"]["Code"].startswith("InvalidInstanceID"):
                raise UnreachableError(f"instance {id_} does not exist") from error
            raise
    return instance
