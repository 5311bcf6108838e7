"""Limits on the length of files, functions and commands, and on arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("emrctl", "stacks", "jobs", "bootstrap")
FILE_LINES, FUNCTION_LINES, COMMAND_LINES, ARGUMENTS = 400, 60, 20, 6

FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of the body without the docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("app.command" in ast.unparse(item) for item in node.decorator_list)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_its_functions_are_within_limits(path: Path) -> None:
    assert path.read_text().count("\n") <= FILE_LINES
    for node in _functions(path):
        if not _is_command(node):  # a command's signature is its options: see its body below
            assert _length(node) <= FUNCTION_LINES, f"{path.name}: {node.name}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "emrctl" / "cli").glob("*.py")), ids=lambda path: path.name
)
def test_command_bodies_are_within_limit(path: Path) -> None:
    for node in _functions(path):
        if _is_command(node):
            assert _body(node) <= COMMAND_LINES, f"{path.name}: {node.name}: {_body(node)} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_within_argument_limit(path: Path) -> None:
    for node in _functions(path):
        names = [
            item.arg for item in (*node.args.posonlyargs, *node.args.args) if item.arg != "self"
        ]
        count = len([name for name in names if name != "cls"]) + len(node.args.kwonlyargs)
        if not any(
            "command" in ast.unparse(item) or "callback" in ast.unparse(item)
            for item in node.decorator_list
        ):
            assert count <= ARGUMENTS, f"{path.name}: {node.name} takes {count}"


def test_medians_of_files_and_functions_are_small() -> None:
    files = [path.read_text().count("\n") for path in FILES]
    functions = [_length(node) for path in FILES for node in _functions(path)]
    assert median(files) <= 200
    assert median(functions) <= 12
    assert quantiles(functions, n=10)[-1] <= 30
