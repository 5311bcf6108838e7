"""`emrctl ui`, `ssh`, `exec` and `copy`: web pages and nodes of a cluster."""

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
from emrctl.clusters.registry import kind_of
from emrctl.errors import UnreachableError, UsageError
from emrctl.provision import lifecycle
from emrctl.remote import nodes, pages, session_manager
from emrctl.remote.pages import Method, Page

if TYPE_CHECKING:
    from emrctl.runs.workspace import Workspace
    from emrctl.standalone import ParallelNodes

app = options.new_app()

MethodOption = Annotated[
    Method | None, typer.Option("--by", help="Connection method; by default each is tried.")
]
IdentityOption = Annotated[
    Path | None, typer.Option("--identity", help="Private key file of the cluster's key pair.")
]
FingerprintOption = Annotated[
    str | None, typer.Option("--fingerprint", help="Expected host key, SHA256:...")
]
NodesOption = Annotated[
    list[str] | None,
    typer.Option("--node", help="Only this node, e.g. worker-2 or an id; repeatable."),
]


@app.command()
@options.common("config target cluster")
def ui(
    context: options.Context,
    page: Annotated[Page, typer.Argument(help="Web page to open.")],
    application: Annotated[
        str | None, typer.Option(help="Spark application id; default: the newest running one.")
    ] = None,
    by: MethodOption = None,
    identity: IdentityOption = None,
    fingerprint: FingerprintOption = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the address, do not open a browser.")
    ] = False,
) -> None:
    """Open a web page of YARN, Spark or HDFS; Ctrl-C closes the tunnel.

    Tries an SSH tunnel (the host key is verified), then Session Manager, then
    EMR's presigned address. Tunnels listen on localhost only.
    """
    workspace = context.workspace
    request = pages.PageRequest(
        cluster=registry.find_cluster(workspace.project, workspace.target),
        page=page,
        methods=(by,) if by else pages.METHODS,
        login=nodes.Login(identity=identity, fingerprint=fingerprint),
        application_id=application,
        report=render.note,
    )
    opened = pages.open_page(workspace.target, request)
    typer.echo(opened.url)
    if not only_print:
        import webbrowser

        webbrowser.open(opened.url)
    if opened.forwarding is not None:
        _hold(opened.forwarding, opened.method)


def _hold(tunnel: pages.Forwarding, method: str) -> None:
    render.note(f"Connected by {method} until Ctrl-C.")
    # SIGTERM and SIGHUP must also close the tunnel, or the plugin's process would stay.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        tunnel.keep(threading.Event())
    except KeyboardInterrupt:
        render.note("closed")


@app.command(cls=options.WithRemoteCommand)
@options.common("config target cluster")
def ssh(
    context: options.Context,
    node: Annotated[
        str, typer.Argument(help="primary, core-1, task-2, an instance id or a private name.")
    ] = nodes.PRIMARY,
    by: MethodOption = None,
    identity: IdentityOption = None,
    fingerprint: FingerprintOption = None,
) -> None:
    """Open a shell on a node, or run the command after `--`.

    Exits with the command's exit code. Tries SSH (the host key is verified
    against the node's console output), then Session Manager.
    """
    workspace = context.workspace
    cluster = registry.find_cluster(workspace.project, workspace.target)
    if kind_of(cluster.spec).uses_folders(workspace.target):
        raise UnreachableError(
            "EMR nodes on localhost have no SSH server: they are folders of this machine",
            hint="Use `emrctl ui yarn` and `emrctl logs RUN`, or a cluster of `kind: ec2`.",
        )
    connection = _Connection(
        target=workspace.target,
        cluster=cluster,
        node=nodes.find_node(cluster, node),
        login=nodes.Login(identity=identity, fingerprint=fingerprint),
    )
    raise typer.Exit(_connect(connection, by, context.remote_command))


@dataclass(frozen=True, kw_only=True)
class _Connection:
    target: Target
    cluster: Cluster
    node: Node
    login: nodes.Login


def _connect(connection: _Connection, by: Method | None, command: Sequence[str]) -> int:
    """Return the exit code of the shell or command, by the first method that works."""
    methods = (by,) if by else ("ssh", "ssm")
    errors = []
    for name in methods:
        try:
            return _METHODS[name](connection, _shell_line(command) if command else None)
        except UnreachableError as error:
            errors.append(error)
            render.note(f"{name}: {error.message}")
    raise pages.all_methods_failed(methods, errors, f"node {connection.node.id}")


def _shell_line(command: Sequence[str]) -> str:
    """Return `command` as a line for the node's shell; a single word is already one."""
    return command[0] if len(command) == 1 else shlex.join(command)


def _by_ssh(connection: _Connection, command: str | None) -> int:
    node = connection.node
    if node.session and command is None:
        raise UnreachableError(f"{node.id} has no open port: Session Manager provides a shell")
    line = nodes.connect(connection.target, connection.cluster, node, connection.login, render.note)
    try:
        line.transport()  # verifies the host key
        if command is not None:
            return line.run(command, sys.stdout.buffer, sys.stderr.buffer)
    finally:
        line.close()
    if shutil.which("ssh") is None:
        hint = "Install the OpenSSH client, or add a command: `emrctl ssh NODE -- COMMAND`."
        raise UnreachableError("no `ssh` on PATH for an interactive shell", hint=hint)
    return subprocess.call(nodes.shell_command(line))


def _by_session(connection: _Connection, command: str | None) -> int:
    session_manager.check_available(connection.target, connection.node.id)
    return session_manager.run(connection.target, connection.node.id, command)


def _by_emr(_connection: _Connection, _command: str | None) -> int:
    raise UnreachableError("EMR presigns addresses of web pages only", hint="Use ssh or ssm.")


_METHODS: dict[str, Callable[[_Connection, str | None], int]] = {
    "ssh": _by_ssh,
    "ssm": _by_session,
    "emr": _by_emr,
}


# --- all nodes of an EC2 cluster ------------------------------------------------------------------


@app.command("exec", cls=options.WithRemoteCommand)
@options.common("config target cluster")
def run_on_all(
    context: options.Context, node: NodesOption = None, identity: IdentityOption = None
) -> None:
    """Run the command after `--` on all nodes; exit with the highest exit code.

    A single word is run by the node's shell: `emrctl exec -- 'df -h | tail -1'`.
    """
    from emrctl import standalone

    if not context.remote_command:
        raise UsageError("no command after --", hint="Example: `emrctl exec -- uptime`.")
    with _connect_all(context.workspace, identity) as connected:
        codes = standalone.exec_on(connected, _shell_line(context.remote_command), node or ())
    raise typer.Exit(max(codes.values(), default=0))


@app.command()
@options.common("config target cluster")
def copy(
    context: options.Context,
    source: Annotated[Path, typer.Argument(help="Local file or folder.")],
    destination: Annotated[str, typer.Argument(help="Path on the nodes.")],
    node: NodesOption = None,
    identity: IdentityOption = None,
) -> None:
    """Copy a file or folder to all nodes.

    The source is copied into the destination if that ends in a slash.
    """
    from emrctl import standalone

    with _connect_all(context.workspace, identity) as connected:
        count = standalone.copy(connected, source, destination, node or ())
    render.note(f"{count} files copied to each node.")


def _connect_all(workspace: Workspace, identity: Path | None) -> ParallelNodes:
    from emrctl import standalone

    cluster = lifecycle.find_ssh_cluster(workspace.deployment)
    return standalone.ParallelNodes(
        workspace.target, cluster, _print_line, nodes.Login(identity=identity)
    )


def _print_line(node: str, line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # with `| head` the command still completes
        typer.echo(f"{node}: {line}")
