"""Which node is meant, and what it takes to log in to it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl import paths
from emrctl.aws.errors import translated
from emrctl.errors import NotFoundError
from emrctl.remote import host_keys, session_manager
from emrctl.remote.errors import NoKeyError, UnreachableError
from emrctl.remote.ssh import Host, Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster, Node

PRIMARY = "primary"
EC2_USER = "ec2-user"


@dataclass(frozen=True, kw_only=True)
class Login:
    """How the user wants to log in: a private key's file, a fingerprint that was read elsewhere."""

    identity: Path | None = None
    fingerprint: str | None = None


def find(cluster: Cluster, name: str = PRIMARY) -> Node:
    """The node that `name` means: `primary`, `core-2`, an id or the beginning of a private name."""
    named = dict(_names(cluster.nodes))
    if name in named:
        return named[name]
    for node in cluster.nodes:
        if name == node.id or node.private_dns.partition(".")[0] == name.partition(".")[0]:
            return node
    if not cluster.nodes:
        raise NotFoundError(f"cluster '{cluster.name}' has no nodes yet", hint="`emrctl show`.")
    hint = f"There are {', '.join(f'{key} ({node.id})' for key, node in named.items())}."
    raise NotFoundError(f"cluster '{cluster.name}' has no node '{name}'", hint=hint)


def _names(nodes: Sequence[Node]) -> list[tuple[str, Node]]:
    """Each node under its role and number; the first of a role under the role alone, too.

    Nodes of EC2 clusters keep the names that they were made with.
    """
    if all(node.name for node in nodes):
        return [(node.name, node) for node in nodes]
    found: list[tuple[str, Node]] = []
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.role] = counts.get(node.role, 0) + 1
        if counts[node.role] == 1:
            found.append((node.role, node))
        found.append((f"{node.role}-{counts[node.role]}", node))
    return found


def identities(target: Target, cluster: Cluster, login: Login) -> tuple[Path, ...]:
    """Files that may hold the private half of the cluster's key pair.

    `UnreachableError` where the cluster was made without one: nobody can log in by SSH.
    """
    if login.identity is not None:
        return (login.identity.expanduser(),)
    if cluster.id.startswith("i-"):
        return own_keys(cluster.stack, getattr(cluster.spec, "key_pair", None))
    with translated(f"asking for the key pair of {cluster.id}"):
        found = target.client("emr").describe_cluster(ClusterId=cluster.id)["Cluster"]
    name = found.get("Ec2InstanceAttributes", {}).get("Ec2KeyName")
    if not name:
        hint = "Set cluster.key_pair, then `emrctl up` makes the cluster anew."
        raise UnreachableError("the cluster was made without a key pair", hint=hint)
    return _in_ssh_folder(name)


def own_keys(stack: str, name: str | None) -> tuple[Path, ...]:
    """Files that may hold the key of the stack's instances: emrctl's own, or the pair's `name`.

    `NoKeyError` says where the key is that emrctl made, which only one machine has.
    """
    own = paths.key_file(stack)
    found = _in_ssh_folder(name) if name else ()
    # The pair that emrctl makes is called as the stack; an agent may hold the key of another.
    if name in {None, stack} and not own.is_file():
        hint = f"Copy it from the machine that ran `emrctl up` to {own} (mode 600)."
        raise NoKeyError(f"the key of '{stack}' is not on this machine", hint=hint)
    return (own, *found) if own.is_file() else found


def _in_ssh_folder(name: str) -> tuple[Path, ...]:
    folder = Path.home() / ".ssh"
    return tuple(path for path in (folder / f"{name}.pem", folder / name) if path.is_file())


def line(
    target: Target, cluster: Cluster, node: Node, login: Login, report: Callable[[str], None]
) -> Line:
    """A line to the node; to those that have no public address by way of the primary."""
    keys = identities(target, cluster, login)
    primary = find(cluster)
    if direct(node, primary):
        found = to(target, node, login)
    else:
        # A fingerprint that the user gives is that of the node they name.
        way = to(target, primary, Login(identity=login.identity))
        way.identities = keys
        found = replace(to(target, node, login), through=way)
        found.host = inside(found.host, node)
    found.identities, found.report = keys, report
    return found


def inside(host: Host, node: Node) -> Host:
    """The node as the others of its cluster reach it."""
    return replace(host, address=node.private_ip or node.private_dns)


def direct(node: Node, primary: Node) -> bool:
    """Whether nodes like this one are reached without the primary between."""
    # EMR lets SSH in to the primary alone, whatever addresses the others have.
    own_way = node == primary or node.session
    return own_way or bool(node.name and (node.public_ip or not primary.public_ip))


def to(target: Target, node: Node, login: Login) -> Line:
    """A line to the node's own address, with no keys yet; its host key will be checked."""

    def check(shown: host_keys.HostKey) -> None:
        host_keys.check(
            node.id, shown, lambda: host_keys.console(target, node.id), login.fingerprint
        )

    address = node.public_ip or node.public_dns or node.private_ip or node.private_dns
    host = Host(node=node.id, address=address)
    if node.name:
        host = replace(host, port=target.ssh_port, user=EC2_USER)
    door = (
        session_manager.Door(target, node.id, (node.private_ip, host.port))
        if node.session
        else None
    )
    return Line(host=host, identities=(), check=check, door=door)


def shell_command(line_: Line) -> list[str]:
    """OpenSSH's command line for an interactive shell, strict about the key that was checked."""
    host, via = line_.host, line_.through
    command = ["ssh", "-tt", *_options(line_)]
    if via is not None:
        hop = ["ssh", *_options(via), "-W", "%h:%p", f"{via.host.user}@{via.host.address}"]
        command += ["-o", f"ProxyCommand={shlex.join(hop)}"]
    return [*command, f"{host.user}@{host.address}"]


def _options(line_: Line) -> list[str]:
    options = {
        "UserKnownHostsFile": f'"{host_keys.file()}"',
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": line_.host.node,
        "Port": str(line_.host.port),
    }
    pairs = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    return pairs + [part for path in line_.identities for part in ("-i", str(path))]
