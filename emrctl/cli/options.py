"""Options that several commands share, and how a command opens the project it is called in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from emrctl.errors import UsageError
from emrctl.runs.workspace import Workspace
from emrctl.spec import config

INTERRUPTED = 130


class Group(TyperGroup):
    """Commands that answer Ctrl-C with one line and the shell's own exit code for it."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit code 130 where it was interrupted."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from error


def new_app() -> typer.Typer:
    """An app whose bugs keep Python's own traceback."""
    app = typer.Typer(
        cls=Group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # A callback keeps an app of one command a group, so that the command's name is needed.
    app.callback()(_group)
    return app


def _group() -> None:
    """Spark clusters on AWS as code, and a record of what every run on them did."""


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="The emrctl.yaml to use instead of the nearest one."),
]
TargetOption = Annotated[
    str | None, typer.Option("--target", help="aws or local, in place of the spec's.")
]
RegionOption = Annotated[
    str | None, typer.Option("--region", help="An AWS region, in place of the spec's.")
]
ClusterOption = Annotated[
    str | None, typer.Option("--cluster", help="The cluster's name, in place of the spec's.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, letters that only it holds, or `latest`.")
]


def open_workspace(
    file: Path | None = None,
    *,
    target: str | None = None,
    region: str | None = None,
    cluster: str | None = None,
) -> Workspace:
    """The project in force, with what was typed over it."""
    flags = {"target": target, "region": region, "cluster.name": cluster}
    return Workspace(config.load(file, flags))


def pairs(items: list[str], flag: str) -> dict[str, str]:
    """`KEY=VALUE` items as a mapping; `UsageError` names the flag and the item at fault."""
    found = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"{flag} {item}: is not of the form KEY=VALUE")
        found[key] = value
    return found


def confirm(question: str, *, yes: bool) -> None:
    """Go on only with a yes; `UsageError` names the flag where nobody can be asked."""
    import sys

    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can be asked here", hint="Add --yes.")
    if not typer.confirm(question):
        raise typer.Exit(1)
