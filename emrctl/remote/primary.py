"""The way to the primary of an EC2 cluster, for whoever knows its id alone."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emrctl.aws.errors import translated
from emrctl.aws.listing import instances, tags
from emrctl.errors import UnavailableError
from emrctl.remote import nodes
from emrctl.remote.errors import HopelessError, UnreachableError
from emrctl.remote.nodes import Login

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Node
    from emrctl.remote.ssh import Line


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """Exit code and output of a command on the primary."""

    code: int
    out: bytes
    err: bytes


@dataclass(eq=False)
class Primary:
    """Runs commands on the primary called `id`, over one line that is kept."""

    target: Target
    id: str
    login: Login = field(default_factory=Login)
    _line: Line | None = None
    _node: Node | None = None

    def run(self, command: str, stdin: bytes = b"") -> CommandResult:
        """The command has run on the primary; `UnavailableError` where it does not answer now.

        `HopelessError` where this machine lacks what it takes, now and later.
        """
        out, err = io.BytesIO(), io.BytesIO()
        try:
            code = self.line().run(command, out, err, stdin)
        except HopelessError:
            raise
        except UnreachableError as error:
            self.close()  # its address may have changed
            raise UnavailableError(error.message, hint=error.hint) from error
        return CommandResult(code=code, out=out.getvalue(), err=err.getvalue())

    def line(self) -> Line:
        """The line to it; `UnreachableError` where it has no address, or no key is here."""
        if self._line is not None and self._line.cut:
            # What was cut may be gone, or elsewhere: EC2 says so at once, a dead address never.
            self.close()
        if self._line is None:
            found = _described(self.target, self.id)
            self._node = _node(found)
            self._line = _line(self.target, self._node, found, self.login)
        return self._line

    @property
    def private_ip(self) -> str:
        """Its address among the nodes, where the pages of master and drivers answer."""
        self.line()
        return self._node.private_ip if self._node is not None else ""

    def close(self) -> None:
        """The line is gone; the next command makes another."""
        if self._line is not None:
            self._line.close()
            self._line = None


def _node(found: dict[str, Any]) -> Node:
    from emrctl.clusters import ec2

    state = found["State"]["Name"]
    if state != "running":
        raise UnreachableError(f"the primary {found['InstanceId']} is {state}")
    return ec2.node(found)


def _line(target: Target, node: Node, found: dict[str, Any], login: Login) -> Line:
    line = nodes.to(target, node, login)
    if login.identity is not None:
        line.identities = (login.identity.expanduser(),)
    else:
        stack = tags(found).get("emrctl:stack", "")
        line.identities = nodes.own_keys(stack, found.get("KeyName"))
    return line


def _described(target: Target, id_: str) -> dict[str, Any]:
    from botocore.exceptions import ClientError

    with translated(f"asking for the address of {id_}"):
        try:
            [found] = instances(target.client("ec2"), InstanceIds=[id_])
        except ClientError as error:
            if error.response["Error"]["Code"].startswith("InvalidInstanceID"):
                raise UnreachableError(f"there is no instance {id_} any more") from error
            raise
    return found
