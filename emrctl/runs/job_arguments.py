"""Print the arguments of jobs as JSON: python job_arguments.py FOLDER NAME...

A program of its own process, because it imports the jobs. Modules outside FOLDER and Python's
standard library, e.g. pyspark, are replaced by empty ones: this needs no package and no Java.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn
from unittest.mock import MagicMock


class _Parser(Exception):  # noqa: N818 - carries the parser of a job, not an error
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(parser.prog)
        self.parser = parser


class _EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module that is neither in a folder nor in the standard library."""

    def __init__(self, folder: Path) -> None:
        self._own = {path.stem for path in folder.iterdir()}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of an empty package; None leaves the module to Python."""
        top = fullname.partition(".")[0]
        if top in self._own or top in sys.stdlib_module_names:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        """Return a module that has every attribute."""
        return MagicMock(name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing."""


def _raise_parser(parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
    raise _Parser(parser)


def describe(script: Path) -> dict[str, Any]:
    """Return the description, help text and arguments of a job's parser."""
    sys.path[:] = [str(script.parent), *sys.path]
    try:
        runpy.run_path(str(script), run_name="job")["main"]([])
    except _Parser as found:
        parser = found.parser
        actions = parser._actions[1:]  # noqa: SLF001 - argparse lists them nowhere else
        return {
            "description": parser.description or "",
            "help": parser.format_help(),
            "arguments": [_argument(parser, action) for action in actions],
        }
    raise AssertionError(f"{script} parses no arguments")


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> dict[str, Any]:
    default = action.default
    values = None if action.choices is None else [str(item) for item in action.choices]
    name = max([*action.option_strings, action.dest], key=lambda text: text.startswith("--"))
    metavar = action.metavar or ("|".join(values) if values else action.dest.upper())
    return {
        "name": name,
        "metavar": "" if action.nargs == 0 else str(metavar),
        "help": (action.help or "") % {**vars(action), "prog": parser.prog},
        "required": action.required,
        "default": default if isinstance(default, bool | int | float | None) else str(default),
        "choices": values,
    }


def main(folder: Path, names: Sequence[str]) -> None:
    """Print the description of each job in a folder."""
    sys.meta_path.insert(0, _EmptyModules(folder))
    argparse.ArgumentParser.parse_args = _raise_parser  # type: ignore[assignment]
    print(json.dumps({name: describe(folder / f"{name}.py") for name in names}))  # noqa: T201


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose modules are not the jobs'
    main(Path(sys.argv[1]), sys.argv[2:])
