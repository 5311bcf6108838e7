"""Options that several commands share, and the context through which a command reads them."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from emrctl import redact
from emrctl.errors import UsageError
from emrctl.runs.workspace import Workspace
from emrctl.spec import config as configuration

if TYPE_CHECKING:
    from emrctl.spec import ProjectSpec

INTERRUPTED = 130
_PANEL = "Common options"
_REMOTE_COMMAND = "emrctl.remote_command"


@dataclass(frozen=True, kw_only=True)
class Context:
    """Common options of one command line, and the project that they select.

    `remote_command` are the words after `--`.
    """

    config: Path | None = None
    target: str | None = None
    region: str | None = None
    cluster: str | None = None
    yes: bool = False
    as_json: bool = False
    remote_command: tuple[str, ...] = ()

    @functools.cached_property
    def workspace(self) -> Workspace:
        """The project, with the options of the command line in place of the file's values."""
        flags = {"target": self.target, "region": self.region, "cluster.name": self.cluster}
        return Workspace(configuration.load(self.config, flags))

    @property
    def in_project(self) -> bool:
        """Whether --config is set, or this folder or one above it has an emrctl.yaml."""
        if self.config is None:
            try:
                configuration.find()
            except UsageError:
                return False
        return True

    @property
    def limits(self) -> Mapping[str, float]:
        """The thresholds of findings that emrctl.yaml sets; none outside of a project."""
        return self.workspace.project.findings if self.in_project else {}

    def project_without_file(self, **defaults: str) -> ProjectSpec:
        """Return a project with the target and region of the flags, or else of `defaults`."""
        flags = {"target": self.target, "region": self.region}
        return configuration.without_file({"project": "any", **defaults}, flags)

    def confirm(self, question: str) -> None:
        """Ask `question` unless --yes is set; exit with 1 on "no".

        Raises `UsageError` if stdin is not a terminal.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{question} stdin is not a terminal", hint="Add --yes.")
        if not typer.confirm(question):
            raise typer.Exit(1)


def _option(*flags: str, help: str) -> Any:  # noqa: A002 - typer's own name
    return typer.Option(*flags, help=help, rich_help_panel=_PANEL)


_COMMON: dict[str, tuple[Any, Any]] = {
    "config": (Path | None, _option("--config", help="Path of emrctl.yaml.")),
    "target": (str | None, _option("--target", help="aws or local; overrides emrctl.yaml.")),
    "region": (str | None, _option("--region", help="AWS region; overrides emrctl.yaml.")),
    "cluster": (str | None, _option("--cluster", help="Cluster name; overrides emrctl.yaml.")),
    "yes": (bool, _option("--yes", "-y", help="Do not ask for confirmation.")),
    "as_json": (bool, _option("--json", help="Print JSON.")),
}

RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Run id, any unique part of it, or `latest`."),
]


def common(names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the common options in `names` to a command; it receives them as a `Context`."""
    fields = names.replace("json", "as_json").split()

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())

        @functools.wraps(command)
        def run(typer_context: typer.Context, **values: Any) -> None:
            if typer_context.invoked_subcommand is None:
                words = tuple(typer_context.meta.get(_REMOTE_COMMAND, ()))
                flags = {name: values.pop(name) for name in fields}
                command(Context(**flags, remote_command=words), **values)

        own[0] = own[0].replace(name="typer_context", annotation=typer.Context)
        signature = inspect.Signature([*own, *map(_parameter, fields)])
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {item.name: item.annotation for item in signature.parameters.values()}
        return run

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    type_, option = _COMMON[name]
    default = False if type_ is bool else None
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=default,
        annotation=Annotated[type_, option],
    )


class WithRemoteCommand(TyperCommand):
    """A command that passes the words after `--` to a node unchanged."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words before `--`."""
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[_REMOTE_COMMAND] = args[end + 1 :]
        return super().parse_args(ctx, args[:end])


class Group(TyperGroup):
    """Commands that answer Ctrl-C with one line and exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from error


def new_app() -> typer.Typer:
    """Return an app that leaves tracebacks to Python."""
    app = typer.Typer(
        cls=Group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # With a callback, an app of one command stays a group, so that the command's name is required.
    app.callback()(_callback)
    return app


def _callback() -> None:
    """Create Spark clusters on AWS, run jobs on them and compare the runs."""


def add_group(app: typer.Typer, name: str, help_: str, *, is_command: bool = False) -> typer.Typer:
    """Add a group of subcommands; with `is_command` it runs its callback without a subcommand."""
    group = typer.Typer(
        cls=Group, no_args_is_help=not is_command, invoke_without_command=is_command, help=help_
    )
    app.add_typer(group, name=name)
    return group


def pairs(
    items: list[str] | None, flag: str, default: Callable[[str], str] | None = None
) -> dict[str, str]:
    """Return `KEY=VALUE` items as a mapping; `default` returns the value of a `KEY` alone.

    `UsageError` names `flag` and the invalid item.
    """
    values = {}
    for item in items or ():
        key, equals, value = item.partition("=")
        if not key or (not equals and default is None):
            raise UsageError(f"{flag} {redact.text(item)}: expected KEY=VALUE")
        values[key] = value if equals or default is None else default(key)
    return values


def variable(name: str) -> str:
    """Return the caller's value of a variable; `UsageError` if it is not set."""
    if name not in os.environ:
        hint = f"Set it in your shell, or write --env {name}=VALUE."
        raise UsageError(f"--env {name}: the variable is not set", hint=hint)
    return os.environ[name]
