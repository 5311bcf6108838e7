"""Which node is meant, and what it takes to log in to it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl.engine.failures import translated
from emrctl.errors import NotFoundError
from emrctl.reach import hostkeys
from emrctl.reach.line import Host, Line
from emrctl.reach.trouble import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from emrctl.provision import Cluster, Node
    from emrctl.target import Target

PRIMARY = "primary"


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
    """Each node under its role and number; the first of a role under the role alone, too."""
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
    with translated(f"asking for the key pair of {cluster.id}"):
        found = target.client("emr").describe_cluster(ClusterId=cluster.id)["Cluster"]
    name = found.get("Ec2InstanceAttributes", {}).get("Ec2KeyName")
    if not name:
        hint = "Set cluster.key_pair, then `emrctl up` makes the cluster anew."
        raise UnreachableError("the cluster was made without a key pair", hint=hint)
    folder = Path.home() / ".ssh"
    places = (folder / f"{name}.pem", folder / name)
    return tuple(path for path in places if path.is_file())


def line(
    target: Target, cluster: Cluster, node: Node, login: Login, report: Callable[[str], None]
) -> Line:
    """A line to the node; to those that have no public address by way of the primary."""
    keys = identities(target, cluster, login)
    primary = find(cluster)
    if node == primary:
        found = _line(target, primary, _address(primary), login)
    else:
        # A fingerprint that the user gives is that of the node they name.
        way = _line(target, primary, _address(primary), Login(identity=login.identity))
        way.identities = keys
        found = replace(_line(target, node, node.private_dns, login), through=way)
    found.identities, found.report = keys, report
    return found


def _address(node: Node) -> str:
    return node.public_dns or node.private_dns


def _line(target: Target, node: Node, address: str, login: Login) -> Line:
    def check(shown: hostkeys.HostKey) -> None:
        hostkeys.check(node.id, shown, lambda: hostkeys.console(target, node.id), login.fingerprint)

    return Line(host=Host(node=node.id, address=address), identities=(), check=check)


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
        "UserKnownHostsFile": f'"{hostkeys.file()}"',
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": line_.host.node,
        "Port": str(line_.host.port),
    }
    pairs = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    return pairs + [part for path in line_.identities for part in ("-i", str(path))]
