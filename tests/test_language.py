"""Plain English in sources and documents, and `emrctl ...` commands in them that parse."""

from __future__ import annotations

import ast
import functools
import importlib
import io
import re
import shlex
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from emrctl.cli.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("emrctl", "stacks", "jobs", "bootstrap", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".sh", ".yaml"}
)
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BANNED = re.compile(
    r"""
    (?<![=/`])\bnobody\b | \bsomebody\b | \bwhoever\b | \bwhom\b | \b(?:ours|theirs)\b
    | \b(?:is|are|was|were|has\ gone|have\ gone)\ no\ more\b | \b(?:stands?|stood)\b
    | \blies\b | \b(?:lie|lay)\ (?:in|on|at|below|under|where)\b
    | (?<!-)\banew\b | \bof\ (?:its|their)\ own\ accord\b | \blikewise\b
    | (?<![-_])\b(?:gives?|gave|given)\ (?:\w+\ )?up\b
    | \btells?\ (?:of|that|no)\b | \b(?:is|are|was|were)\ told\b(?!\ apart)
    | \b(?:is|be|was|were)\ had\b | \bhas\ not\ got\b
    | \bgo(?:es)?\ on\b | \bwent\ on\b | \b(?:brings|brought)\ up\b
    | (?<!["`])\bsaid\b(?!\ string) | \bwhat\ (?:\S+\ ){1,3}says?\b
    | \bas\ long\ as\ it\ lives\b | \bwhole\ world\b
    | \bwhatever\ became\b | \bvouch | \bwithout\ a\ word\b | \bat\ the\ most\b(?!\ [a-z])
    | \bends?\ (?:that|what)\b | \btakes?\ (?:\w+\ )?away\b | \bin\ force\b | \bsees?\ to\ it\b
    | \bacted\ upon\b | \ba\ yes\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
# An option and a column of the jobs, which users and files depend on.
NAMES = re.compile(r"--anew\b|`said`|\"said\"|\bsaid string\b")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of the file; of a Python file its comments and string literals."""
    text = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), start=1)
        return
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            yield token.start[0], token.string


@pytest.mark.parametrize("path", [*SOURCES, *DOCUMENTS], ids=_name)
def test_prose_contains_no_banned_phrase(path: Path) -> None:
    phrases = [
        f"{_name(path)}:{line}: {match[0]}"
        for line, text in _prose(path)
        for match in BANNED.finditer(NAMES.sub("", re.sub(r"\s+", " ", text)))
    ]
    assert not phrases


# --- commands -------------------------------------------------------------------------------------

_QUOTED = re.compile(r"`emrctl\s+([^`]+)`")
_TYPED = re.compile(r"^\s*(?:Next: )?emrctl ([a-z].*)$", re.MULTILINE)


def _strings(path: Path) -> Iterator[str]:
    """Comments and string literals of a Python file, with `X` in place of formatted values."""
    tree = ast.parse(path.read_text())
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in joined for part in node.values}
    for item in joined:
        yield "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in item.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value
    yield from (text for _, text in _prose(path) if text.startswith("#"))


def _commands(path: Path) -> set[str]:
    """`emrctl` command lines that the file quotes, without the word emrctl."""
    if path.suffix == ".py":
        quoted = typed = "\n".join(_strings(path))
    else:
        quoted = path.read_text()
        typed = "\n".join(re.findall(r"^```console\n(.*?)^```", quoted, re.MULTILINE | re.DOTALL))
        quoted = re.sub(r"^```.*?^```", "", quoted, flags=re.MULTILINE | re.DOTALL)
    lines = {re.sub(r"\s{2,}#.*", "", line) for line in _TYPED.findall(typed)}
    return {*_QUOTED.findall(quoted), *(line for line in lines if line.split()[0] in COMMANDS)}


def _alternatives(words: list[str]) -> Iterator[list[str]]:
    """`local up|down` as `local up` and `local down`."""
    for index, word in enumerate(words):
        if re.fullmatch(r"\w+(\|\w+)+", word):
            for choice in word.split("|"):
                yield from _alternatives([*words[:index], choice, *words[index + 1 :]])
            return
    yield words


@functools.cache
def _app(module: str) -> Any:
    return typer.main.get_command(importlib.import_module(f"emrctl.cli.{module}").app)


def _command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `words` start with, and the rest of the words."""
    command = _app(COMMANDS[words[0]].module)
    while getattr(command, "commands", None):
        if not words or words[0] not in command.commands:
            assert getattr(command, "invoke_without_command", False) or not words, words
            break
        command, words = command.commands[words[0]], words[1:]
    return command, words


def parse_command(words: list[str]) -> None:
    """Fail on an unknown command, option or value; arguments and the last value may be absent."""
    if words[0].isupper() or words[0] in {"…", "--help", "--version", "--install-completion"}:
        return
    assert words[0] in COMMANDS, f"unknown command {words[0]}"
    command, rest = _command([word for word in words if word not in {"...", "…"}])
    if "--" in rest and command.name in {"ssh", "exec"}:
        rest = rest[: rest.index("--")]
    last = next((item for item in command.params if rest and rest[-1] in item.opts), None)
    if last is not None and not last.is_flag:
        rest = [*rest, "X"]
    context = command.context_class(command, info_name=words[0], **command.context_settings)
    values, extra, _ = command.make_parser(context).parse_args(list(rest))
    assert not extra, f"unexpected {extra}"
    parameters = {item.name: item for item in command.params}
    for name, value in values.items():
        if isinstance(value, str) and re.search(r"[a-z]", value) and "{" not in value:
            parameters[name].process_value(context, value)


@pytest.mark.parametrize("path", [*SOURCES, *DOCUMENTS], ids=_name)
def test_quoted_commands_parse(path: Path) -> None:
    failures = []
    for line in sorted(_commands(path)):
        for part in line.split(" && emrctl "):
            for words in _alternatives(shlex.split(part.rstrip("\\ ."))):
                try:
                    parse_command(words)
                except (AssertionError, Exception) as error:  # noqa: BLE001 - reported below
                    failures.append(f"emrctl {part}: {error}")
    assert not failures
