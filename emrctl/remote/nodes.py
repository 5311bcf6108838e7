"""Find nodes by name, open SSH connections to them, run commands on an EC2 cluster's primary."""

from __future__ import annotations

import functools
import io
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from emrctl import paths
from emrctl.aws.errors import error_code, translated
from emrctl.aws.listing import instances, tags
from emrctl.aws.target import Target
from emrctl.clusters import ec2
from emrctl.clusters.model import Cluster, Node
from emrctl.clusters.registry import kind_of
from emrctl.errors import (
    MissingPrerequisiteError,
    NoKeyError,
    NotFoundError,
    UnavailableError,
    UnreachableError,
)
from emrctl.remote import host_keys, session_manager
from emrctl.remote.ssh import SshConnection, SshHost

PRIMARY = "primary"
EC2_USER = "ec2-user"


@dataclass(frozen=True, kw_only=True)
class Login:
    """The user's login options: a private key file, the expected host key fingerprint."""

    identity: Path | None = None
    fingerprint: str | None = None


def find_node(cluster: Cluster, name: str = PRIMARY) -> Node:
    """Return the node called `primary`, `core-2`, or by its id or private host name."""
    by_name = dict(_names(cluster.nodes))
    if name in by_name:
        return by_name[name]
    for node in cluster.nodes:
        if name == node.id or node.private_dns.partition(".")[0] == name.partition(".")[0]:
            return node
    if not cluster.nodes:
        raise NotFoundError(
            f"cluster '{cluster.name}' has no nodes yet", hint="Run `emrctl show` for its state."
        )
    hint = f"Nodes: {', '.join(f'{key} ({node.id})' for key, node in by_name.items())}."
    raise NotFoundError(f"cluster '{cluster.name}' has no node '{name}'", hint=hint)


def _names(nodes: Sequence[Node]) -> list[tuple[str, Node]]:
    """Return names with nodes: role and number, and the role alone for its first node.

    Nodes of EC2 clusters keep the names in their tags.
    """
    if all(node.name for node in nodes):
        return [(node.name, node) for node in nodes]
    named: list[tuple[str, Node]] = []
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.role] = counts.get(node.role, 0) + 1
        if counts[node.role] == 1:
            named.append((node.role, node))
        named.append((f"{node.role}-{counts[node.role]}", node))
    return named


def identities(target: Target, cluster: Cluster, login: Login) -> tuple[Path, ...]:
    """Return files that may hold the private key of the cluster's key pair.

    Raises `UnreachableError` if the cluster has no key pair.
    """
    if kind_of(cluster.spec).set_up_over_ssh:
        return own_keys(cluster.stack, cluster.spec.key_pair, login)
    if login.identity is not None:
        return (login.identity.expanduser(),)
    with translated(f"reading the key pair of {cluster.id}"):
        description = target.client("emr").describe_cluster(ClusterId=cluster.id)["Cluster"]
    name = description.get("Ec2InstanceAttributes", {}).get("Ec2KeyName")
    if not name:
        hint = "Set cluster.key_pair; `emrctl up` then replaces the cluster."
        raise UnreachableError("the cluster has no key pair", hint=hint)
    return _in_ssh_folder(name)


def own_keys(stack: str, name: str | None, login: Login) -> tuple[Path, ...]:
    """Return files that may hold the key of the stack's instances: emrctl's, or key pair `name`.

    Raises `NoKeyError` if emrctl created the key pair on another machine.
    """
    if login.identity is not None:
        return (login.identity.expanduser(),)
    own = paths.key_file(stack)
    in_ssh_folder = _in_ssh_folder(name) if name else ()
    # emrctl's key pair has the stack's name; the key of another may be in an SSH agent.
    if name in {None, stack} and not own.is_file():
        hint = f"Copy it from the machine that ran `emrctl up` to {own} (mode 600)."
        raise NoKeyError(f"the key of '{stack}' is not on this machine", hint=hint)
    return (own, *in_ssh_folder) if own.is_file() else in_ssh_folder


def _in_ssh_folder(name: str) -> tuple[Path, ...]:
    folder = Path.home() / ".ssh"
    return tuple(path for path in (folder / f"{name}.pem", folder / name) if path.is_file())


def connect(
    target: Target, cluster: Cluster, node: Node, login: Login, report: Callable[[str], None]
) -> SshConnection:
    """Return a connection to the node, through the primary if it has no public address."""
    keys = identities(target, cluster, login)
    primary = find_node(cluster)
    connection = connection_to(target, node, login, keys)
    connection.report = report
    if not is_direct(node, primary):
        # The user's fingerprint is the one of the node, not of the primary.
        jump = connection_to(target, primary, Login(identity=login.identity), keys)
        connection.set_jump(jump, node.private_ip or node.private_dns)
    return connection


def is_direct(node: Node, primary: Node) -> bool:
    """Return whether the node is reached without a jump through the primary."""
    # EMR allows SSH to the primary only, whatever addresses the other nodes have.
    return (
        node == primary
        or node.session
        or bool(node.name and (node.public_ip or not primary.public_ip))
    )


def connection_to(
    target: Target, node: Node, login: Login, keys: Sequence[Path] = ()
) -> SshConnection:
    """Return a connection to the node's own address, which verifies its host key."""

    def check(key: host_keys.HostKey) -> None:
        console = functools.partial(host_keys.console_output, target, node.id)
        host_keys.check(node.id, key, console, login.fingerprint)

    address = node.public_ip or node.public_dns or node.private_ip or node.private_dns
    host = SshHost(node=node.id, address=address)
    if node.name:
        host = replace(host, port=target.ssh_port, user=EC2_USER)
    forward = None
    if node.session:
        address_inside = (node.private_ip, host.port)
        forward = session_manager.SessionForward(target, node.id, address_inside, check_agent=True)
    return SshConnection(host=host, identities=keys, check=check, forward=forward)


def shell_command(connection: SshConnection) -> list[str]:
    """Return OpenSSH's command line for a shell, which accepts only the verified host key."""
    host, jump = connection.host, connection.jump
    command = ["ssh", "-tt", *_options(connection)]
    if jump is not None:
        proxy = ["ssh", *_options(jump), "-W", "%h:%p", f"{jump.host.user}@{jump.host.address}"]
        command += ["-o", f"ProxyCommand={shlex.join(proxy)}"]
    return [*command, f"{host.user}@{host.address}"]


def _options(connection: SshConnection) -> list[str]:
    options = {
        "UserKnownHostsFile": f'"{host_keys.file()}"',
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": connection.host.node,
        "Port": str(connection.host.port),
    }
    pairs = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    return pairs + [part for path in connection.identities for part in ("-i", str(path))]


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
            instance = _running_instance(self.target, self.id)
            self._node = ec2.to_node(instance)
            stack = tags(instance).get("emrctl:stack", "")
            keys = own_keys(stack, instance.get("KeyName"), self.login)
            self._connection = connection_to(self.target, self._node, self.login, keys)
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


def _running_instance(target: Target, id_: str) -> ec2.Instance:
    from botocore.exceptions import ClientError

    with translated(f"reading the address of {id_}"):
        try:
            [instance] = instances(target.client("ec2"), InstanceIds=[id_])
        except ClientError as error:
            if error_code(error).startswith("InvalidInstanceID"):
                raise UnreachableError(f"instance {id_} does not exist") from error
            raise
    if ec2.state(instance) != "running":
        raise UnreachableError(f"the primary {id_} is {ec2.state(instance)}")
    return instance
