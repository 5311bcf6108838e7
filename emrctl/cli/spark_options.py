"""Options of the Spark settings, generated from their declaration in `SparkSettings`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from emrctl.cli.options import pairs
from emrctl.errors import UsageError
from emrctl.spec import SparkSettings

_PANEL = "Spark options"
_OFF = "no_"


def spark_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `settings` by one option for each Spark setting."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        flags = {name: options.pop(name) for name in _OPTIONS}
        command(*arguments, settings=_parse(flags), **options)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    generated = [
        inspect.Parameter(name, kind, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    parameters: list[inspect.Parameter] = []
    for name, item in inspect.signature(command, eval_str=True).parameters.items():
        parameters += generated if name == "settings" else [item]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _generate() -> dict[str, Any]:
    """Return the annotation of each option; a switch has a second one that turns it off."""
    annotations: dict[str, Any] = {}
    for name, declared in SparkSettings.options().items():
        flag = f"--{name.replace('_', '-')}"

        def option(flag: str, text: str, metavar: str | None = declared.metavar or None) -> Any:
            return typer.Option(flag, help=text, metavar=metavar, rich_help_panel=_PANEL)

        field = SparkSettings.model_fields[name]
        if field.annotation == bool | None:
            annotations[name] = Annotated[bool | None, option(flag, declared.help)]
            off = option(f"--no-{flag.removeprefix('--')}", "Do not scale executors.")
            annotations[_OFF + name] = Annotated[bool | None, off]
        elif field.default_factory is dict:
            annotations[name] = Annotated[list[str] | None, option(flag, declared.help)]
        else:
            annotations[name] = Annotated[str | None, option(flag, declared.help)]
    return annotations


_OPTIONS = _generate()


def _parse(flags: dict[str, Any]) -> SparkSettings:
    from pydantic import ValidationError

    values = {name: value for name, value in flags.items() if value is not None}
    for off in [name for name in values if name.startswith(_OFF)]:
        name = off.removeprefix(_OFF)
        if name in values:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} and --no-{flag} exclude each other")
        values[name] = not values.pop(off)
    if "conf" in values:
        values["conf"] = pairs(values["conf"], "--conf")
    try:
        return SparkSettings.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(_message(dict(item)) for item in error.errors())) from None


def _message(error: dict[str, Any]) -> str:
    flag = "--" + str(error["loc"][0]).replace("_", "-") if error["loc"] else "options"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{flag}: {message[:1].lower()}{message[1:]}"
