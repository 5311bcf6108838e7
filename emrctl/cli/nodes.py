"""`emrctl exec` and `emrctl copy`: all nodes of a cluster of EC2 instances at once."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emrctl.cli import options, render
from emrctl.cli.reach import AFTER, IdentityOption, WithCommand, shell_line
from emrctl.errors import UsageError
from emrctl.provision import lifecycle
from emrctl.remote.nodes import Login
from emrctl.runs.workspace import Workspace

if TYPE_CHECKING:
    from emrctl.standalone import Crew

app = options.new_app()

NodeOption = Annotated[
    list[str] | None,
    typer.Option("--node", help="Only this node (primary, worker-2, an id); may be repeated."),
]


@app.command("exec", cls=WithCommand)
def run_on_all(
    context: typer.Context,
    node: NodeOption = None,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    cluster: options.ClusterOption = None,
    identity: IdentityOption = None,
) -> None:
    """Run what stands after `--` on every node; the exit code is the highest of theirs.

    One word is a line of the node's shell (`emrctl exec -- 'df -h | tail -1'`), several a command.
    """
    from emrctl import standalone

    command = context.meta[AFTER]
    if not command:
        raise UsageError("there is no command", hint="emrctl exec -- uptime")
    workspace = options.open_workspace(config, target=target, cluster=cluster)
    with _crew(workspace, identity) as crew:
        codes = standalone.exec_on(crew, shell_line(command), node or ())
    raise typer.Exit(max(codes.values(), default=0))


@app.command()
def copy(
    source: Annotated[Path, typer.Argument(help="A file or folder of this machine.")],
    destination: Annotated[str, typer.Argument(help="Where to, on the nodes.")],
    node: NodeOption = None,
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    cluster: options.ClusterOption = None,
    identity: IdentityOption = None,
) -> None:
    """Copy a file, or a folder with all that is in it, to every node.

    A destination that ends in a slash, or is a folder there, gets it under its own name.
    """
    from emrctl import standalone

    workspace = options.open_workspace(config, target=target, cluster=cluster)
    with _crew(workspace, identity) as crew:
        count = standalone.copy(crew, source, destination, node or ())
    render.note(f"{count} files are on each node.")


def _crew(workspace: Workspace, identity: Path | None) -> Crew:
    from emrctl import standalone

    found = lifecycle.on_instances(workspace.project, workspace.target)
    return standalone.Crew(workspace.target, found, _say, Login(identity=identity))


def _say(node: str, line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # `| head` has seen enough; the nodes go on
        typer.echo(f"{node}: {line}")
