"""`emrctl ui` and `emrctl ssh`: a cluster's pages and nodes, by whichever way is open."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.aws.target import Target
from emrctl.cli import options, render
from emrctl.clusters import registry
from emrctl.clusters.model import Cluster, Node
from emrctl.errors import UsageError
from emrctl.provision import lifecycle
from emrctl.remote import nodes, page_addresses, pages, session_manager
from emrctl.remote.errors import UnreachableError
from emrctl.remote.page_addresses import Method, Page

if TYPE_CHECKING:
    from emrctl.runs.workspace import Workspace
    from emrctl.standalone import Crew

app = options.new_app()

MethodOption = Annotated[
    Method | None, typer.Option("--by", help="Only this way; else each in turn: ssh, ssm, emr.")
]
IdentityOption = Annotated[
    Path | None, typer.Option("--identity", help="The private half of the cluster's key pair.")
]
FingerprintOption = Annotated[
    str | None, typer.Option("--fingerprint", help="The host key's SHA256:…, read elsewhere.")
]

NodeOption = Annotated[
    list[str] | None,
    typer.Option("--node", help="Only this node (primary, worker-2, an id); may be repeated."),
]


@app.command()
@options.common("config target cluster")
def ui(
    context: options.Context,
    page: Annotated[Page, typer.Argument(help="yarn, master, spark, history or namenode.")],
    application: Annotated[
        str | None, typer.Option(help="Spark's application; by default the newest that runs.")
    ] = None,
    by: MethodOption = None,
    identity: IdentityOption = None,
    fingerprint: FingerprintOption = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the address, open no browser.")
    ] = False,
) -> None:
    """Open a page of the cluster: a tunnel on loopback until Ctrl-C, or an address EMR signs.

    Ways in turn: SSH (host key checked), Session Manager, EMR's presigned addresses.
    """
    workspace = context.workspace
    visit = page_addresses.PageRequest(
        cluster=registry.find_cluster(workspace.project, workspace.target),
        page=page,
        methods=(by,) if by else page_addresses.METHODS,
        login=nodes.Login(identity=identity, fingerprint=fingerprint),
        application_id=application,
        report=render.note,
    )
    _show(pages.open_page(workspace.target, visit), browse=not only_print)


def _show(opened: pages.OpenPage, *, browse: bool) -> None:
    typer.echo(opened.url)
    if browse:
        import webbrowser

        webbrowser.open(opened.url)
    if opened.forwarding is None:
        return
    render.note(f"Open by {opened.method} until Ctrl-C.")
    for number in (signal.SIGTERM, signal.SIGHUP):  # a plugin must not outlive the command
        signal.signal(number, signal.default_int_handler)
    try:
        opened.forwarding.keep(threading.Event())
    except KeyboardInterrupt:
        render.note("closed")


@app.command(cls=options.WithRemoteCommand)
@options.common("config target cluster")
def ssh(
    context: options.Context,
    node: Annotated[
        str, typer.Argument(help="primary, core-1, task-2, an id or a private name.")
    ] = nodes.PRIMARY,
    by: MethodOption = None,
    identity: IdentityOption = None,
    fingerprint: FingerprintOption = None,
) -> None:
    """Log in to a node, or run there what stands after `--`; its exit code is the command's.

    By SSH, with the host key checked against the node's console, else by Session Manager.
    """
    workspace = context.workspace
    found = registry.find_cluster(workspace.project, workspace.target)
    _refuse_folders(workspace.target, found)
    way = _Login(
        target=workspace.target,
        cluster=found,
        node=nodes.find_node(found, node),
        login=nodes.Login(identity=identity, fingerprint=fingerprint),
    )
    raise typer.Exit(_logged_in(way, by, context.remote_command))


def _refuse_folders(target: Target, cluster: Cluster) -> None:
    if target.endpoint is not None and cluster.spec.kind == "emr":
        raise UnreachableError(
            "the EMR on localhost has no SSH server: its nodes are folders of this machine",
            hint="`emrctl ui yarn` and `emrctl logs RUN` show what is there. Instances of a "
            "cluster of `kind: ec2` have one each, on localhost too.",
        )


def shell_line(command: Sequence[str]) -> str:
    """The words as a line of the node's shell; a single one is such a line already."""
    return command[0] if len(command) == 1 else shlex.join(command)


@dataclass(frozen=True, kw_only=True)
class _Login:
    target: Target
    cluster: Cluster
    node: Node
    login: nodes.Login


def _logged_in(way: _Login, by: Method | None, command: Sequence[str]) -> int:
    """The shell's or the command's exit code, by the first way that leads to the node."""
    ways = (by,) if by else ("ssh", "ssm")
    why = []
    for name in ways:
        try:
            return _BY[name](way, shell_line(command) if command else None)
        except UnreachableError as error:
            why.append(error)
            render.note(f"{name}: {error.message}")
    raise pages.all_methods_failed(ways, why, f"node {way.node.id}")


def _by_ssh(way: _Login, command: str | None) -> int:
    if way.node.session and command is None:
        raise UnreachableError(f"no port of {way.node.id} is open: a session gives a shell")
    line = nodes.connect(way.target, way.cluster, way.node, way.login, render.note)
    try:
        line.transport()  # whom one speaks to is known from here on
        if command is not None:
            return line.run(command, sys.stdout.buffer, sys.stderr.buffer)
    finally:
        line.close()
    if shutil.which("ssh") is None:
        hint = "Install OpenSSH's client, or give a command after --."
        raise UnreachableError("a shell needs OpenSSH's `ssh` on PATH", hint=hint)
    return subprocess.call(nodes.shell_command(line))


def _by_session(way: _Login, command: str | None) -> int:
    session_manager.check_available(way.target, way.node.id)
    return session_manager.run(way.target, way.node.id, command)


def _by_emr(_way: _Login, _command: str | None) -> int:
    raise UnreachableError("EMR signs addresses of pages, not of nodes", hint="Use ssh or ssm.")


_BY: dict[str, Callable[[_Login, str | None], int]] = {
    "ssh": _by_ssh,
    "ssm": _by_session,
    "emr": _by_emr,
}


# --- all nodes of an EC2 cluster ---


@app.command("exec", cls=options.WithRemoteCommand)
@options.common("config target cluster")
def run_on_all(
    context: options.Context,
    node: NodeOption = None,
    identity: IdentityOption = None,
) -> None:
    """Run what stands after `--` on every node; the exit code is the highest of theirs.

    One word is a line of the node's shell (`emrctl exec -- 'df -h | tail -1'`), several a command.
    """
    from emrctl import standalone

    command = context.remote_command
    if not command:
        raise UsageError("there is no command", hint="emrctl exec -- uptime")
    workspace = context.workspace
    with _crew(workspace, identity) as crew:
        codes = standalone.exec_on(crew, shell_line(command), node or ())
    raise typer.Exit(max(codes.values(), default=0))


@app.command()
@options.common("config target cluster")
def copy(
    context: options.Context,
    source: Annotated[Path, typer.Argument(help="A file or folder of this machine.")],
    destination: Annotated[str, typer.Argument(help="Where to, on the nodes.")],
    node: NodeOption = None,
    identity: IdentityOption = None,
) -> None:
    """Copy a file, or a folder with all that is in it, to every node.

    A destination that ends in a slash, or is a folder there, gets it under its own name.
    """
    from emrctl import standalone

    workspace = context.workspace
    with _crew(workspace, identity) as crew:
        count = standalone.copy(crew, source, destination, node or ())
    render.note(f"{count} files are on each node.")


def _crew(workspace: Workspace, identity: Path | None) -> Crew:
    from emrctl import standalone

    found = lifecycle.find_ssh_cluster(workspace.deployment)
    return standalone.Crew(workspace.target, found, _say, nodes.Login(identity=identity))


def _say(node: str, line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # `| head` has seen enough; the nodes go on
        typer.echo(f"{node}: {line}")
