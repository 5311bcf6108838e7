"""Read YAML with line numbers, and validate models with them in the error messages.

Every plain scalar is read as the text in the file, and the models convert the fields that are
numbers or booleans. So `007`, `1.10`, `22:30`, `yes` and `2024-05-01` keep their text in tags and
arguments.
"""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from emrctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]
# No configuration needs more; files beyond these limits take gigabytes or overflow the stack.
MAX_FILE_BYTES, MAX_DEPTH, MAX_NODES = 1_000_000, 40, 100_000
_MAX_SHOWN = 60
Model = TypeVar("Model", bound="BaseModel")


class Null(str):
    """A null of a YAML file with its text: `null`, `~`, or empty.

    It is the text where text is required (an argument `null`), and None in any other field.
    """

    __slots__ = ()


@dataclass(frozen=True)
class Document:
    """A YAML file's value and the line of each key, counted from 1."""

    file: str
    value: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def where(self, path: KeyPath) -> str:
        """Return `file:line` of the key at `path`, or of its nearest parent in the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{self.file}:{self.lines[path[:length]]}"
        return self.file


def read(path: Path) -> Document:
    """Read the mapping at `path`; raises `UsageError` with the line if it is invalid."""
    import yaml

    lines: dict[KeyPath, int] = {}
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UsageError(f"{path.name}: {size:,} bytes, more than {MAX_FILE_BYTES:,}")
        loader = _loader()(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _walk(node, (), lines, path.name)  # first: construction replaces merge keys (<<)
        value = loader.construct_document(node) if node is not None else None
    except OSError as error:
        raise UsageError(f"{path.name}: {error.strerror}", hint=f"Check {path}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name}: is not UTF-8 text ({error.reason})") from error
    except yaml.YAMLError as error:
        raise UsageError(_syntax(path.name, error), hint="Check indentation and quotes.") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path.name}: no keys", hint="Create one with `emrctl init`.")
    return Document(file=path.name, value=value, lines=lines)


@functools.cache
def _loader() -> Any:
    """Return the class of a loader that converts no plain scalar but null."""
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader with merge keys and `Null`, and text for every other scalar."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            """Compose a node; raises `YAMLError` if it is nested too deeply."""
            self.depth += 1
            if self.depth > MAX_DEPTH:
                mark = cast("Any", self).peek_event().start_mark
                problem = f"nested more than {MAX_DEPTH} levels deep"
                raise yaml.composer.ComposerError(None, None, problem, mark)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            """Construct a mapping whose keys are the texts in the file."""
            mapping = super().construct_mapping(node, deep=deep)
            return {str(key): value for key, value in mapping.items()}

        def construct_text(self, node: Any) -> str:
            """Construct text; raises `YAMLError` for half of a surrogate pair."""
            text = str(self.construct_scalar(node))
            if any("\ud800" <= character <= "\udfff" for character in text):
                problem = "an escape sequence that is not a character"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
            return text

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in items if tag.endswith((":null", ":merge"))]
        for first, items in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    # Other tags, such as !!binary, are errors with their line.
    prefix = "tag:yaml.org,2002:"
    own = yaml.SafeLoader.yaml_constructors
    kept = {tag: own[tag] for tag in (f"{prefix}map", f"{prefix}seq", None)}
    texts = [f"{prefix}{name}" for name in ("str", "int", "float", "bool")]
    Loader.yaml_constructors = {**kept, **dict.fromkeys(texts, Loader.construct_text)}
    Loader.add_constructor(f"{prefix}null", lambda _, node: Null(node.value))
    return Loader


def check(
    model: type[Model],
    document: Document,
    value: Mapping[str, Any] | None = None,
    also: Callable[[Model], object] | None = None,
) -> Model:
    """Validate `value`, by default the whole document, as a `model`, and call `also` with it.

    Raises `UsageError` with every error: file, line, key and the nearest known key.
    """
    from pydantic import ValidationError

    data = document.value if value is None else value
    try:
        checked = model.model_validate(data)
        if also is not None:
            also(checked)
    except ValidationError as error:
        errors = [_describe(model, data, document, detail) for detail in error.errors()]
        raise UsageError(
            "\n".join(errors), hint="`emrctl config --schema` lists all keys."
        ) from None
    return checked


def reason(message: str) -> str:
    """Return pydantic's message of a fault as part of a sentence."""
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _describe(model: type[BaseModel], data: Any, document: Document, detail: ErrorDetails) -> str:
    path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    dotted = ".".join(str(part) for part in path)
    where = document.where(path)
    if detail["type"] == "extra_forbidden":
        return f"{where}: {dotted}: unknown key{_nearest(model, data, path)}"
    if detail["type"] == "missing":
        return f"{where}: {dotted}: is required"
    message = reason(detail["msg"])
    given = detail["input"]
    shown = f", not {_shortened(given)}" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {dotted + ': ' if dotted else ''}{message}{shown}"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _nearest(model: type[BaseModel], given: Any, path: KeyPath) -> str:
    known = _fields(model, given, path[:-1])
    near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known keys: {', '.join(known)}" if known else ""


def _fields(model: type[BaseModel], given: Any, path: KeyPath) -> list[str]:
    """Return the field names of the model at `path`, looking through containers."""
    current: Any = model
    for part in path:
        given = _inside(given, part)
        fields = getattr(current, "model_fields", None)
        if fields is not None and isinstance(part, str) and part in fields:
            current = _inner_model(fields[part].annotation, given)
    return list(getattr(current, "model_fields", {}))


def _inside(given: Any, part: str | int) -> Any:
    try:
        return given[part]
    except (KeyError, IndexError, TypeError):
        return None


def _inner_model(annotation: Any, given: Any) -> Any:
    """Return the model in an annotation; of several the one with the given kind, or the first."""
    models = list(_models(annotation))
    matching = [model for model in models if _is_kind(model, given)]
    return next(iter(matching or models), None)


def _models(annotation: Any) -> Iterator[Any]:
    from typing import get_args

    if hasattr(annotation, "model_fields"):
        yield annotation
        return
    for argument in get_args(annotation):
        yield from _models(argument)


def _is_kind(model: Any, given: Any) -> bool:
    field = model.model_fields.get("kind")
    return field is not None and isinstance(given, dict) and given.get("kind") == field.default


def _walk(node: Any, path: KeyPath, lines: dict[KeyPath, int], file: str) -> None:
    """Record the line of each key; aliases are followed, as the models do."""
    import yaml

    if len(lines) > MAX_NODES or len(path) > MAX_DEPTH:
        line = node.start_mark.line + 1
        reason = "nested too deeply" if len(path) > MAX_DEPTH else "more values than supported"
        raise UsageError(
            f"{file}:{line}: {reason}", hint="Check the aliases (`*NAME`) in the file."
        )
    if isinstance(node, yaml.MappingNode):
        for key, inner in node.value:
            here = (*path, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                dotted = ".".join(map(str, here))
                raise UsageError(
                    f"{file}:{line}: {dotted}: is set twice (first on line {lines[here]})"
                )
            lines[here] = line
            _walk(inner, here, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, inner in enumerate(node.value):
            lines[(*path, index)] = inner.start_mark.line + 1
            _walk(inner, (*path, index), lines, file)


def _syntax(file: str, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{file}:{mark.line + 1}" if mark else file
    return f"{where}: {getattr(error, 'problem', None) or error}"
