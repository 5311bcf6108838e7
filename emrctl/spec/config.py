"""A project's configuration: `emrctl.yaml`, then the environment, then flags.

`emrctl.yaml` is looked for from the working directory upward; `EMRCTL_REGION` sets `region`,
`EMRCTL_CLUSTER__CORE__COUNT` sets `cluster.core.count`. Each value remembers where it is from.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.errors import UsageError
from emrctl.spec import ProjectSpec, yaml

FILE_NAME = "emrctl.yaml"
STATE_FOLDER = ".emrctl"
_PREFIX = "EMRCTL_"
# Settings of emrctl itself: read where they are used, no keys of a project.
_OWN_VARIABLES = frozenset({"HOME", "CACHE", "CONFIG", "MAVEN_MIRROR", "EMULATOR", "NODE_ROOT"})


@dataclass(frozen=True)
class Source:
    """One value that somebody set: its dotted key, the value and where it was set."""

    key: str
    value: Any
    source: str


@dataclass(frozen=True)
class Config:
    """A checked project, the folder it lies in, and the source of every value that was set."""

    project: ProjectSpec
    root: Path
    sources: Mapping[str, str]

    @property
    def state_folder(self) -> Path:
        """Where stacks and runs of the project are kept; it need not exist yet."""
        return self.root / STATE_FOLDER

    def values(self) -> Iterator[Source]:
        """Every value in force, with its source; `default` where nobody set it."""
        for key, value in _leaves(self.project.model_dump(mode="json"), ()):
            yield Source(key, value, self._source(key))

    def _source(self, key: str) -> str:
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            found = self.sources.get(".".join(parts[:length]))
            if found is not None:
                return found
        return "default"


def load(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """The configuration in force; `UsageError` names file, line, variable or flag at fault.

    `flags` maps dotted keys to values that were typed; None values are left out.
    """
    path = file or find()
    document = yaml.read(path)
    value = _copy(document.value)
    sources = dict(_written(document.value, (), document))
    typed = {key: item for key, item in (flags or {}).items() if item is not None}
    layers = [(_environment(), "$"), (typed, "--")]
    for layer, mark in layers:
        for key, item in layer.items():
            sources[key] = _origin(key, mark)
            _put(value, key.split("."), item, sources[key])
    project = yaml.check(ProjectSpec, _with_origins(document, sources, layers), value)
    return Config(project=project, root=path.absolute().parent, sources=sources)


def find() -> Path:
    """The `emrctl.yaml` in force: `$EMRCTL_CONFIG`, else the nearest from here upward."""
    chosen = os.environ.get("EMRCTL_CONFIG")
    if chosen:
        return Path(chosen)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise UsageError(
        f"no {FILE_NAME} in this folder or above", hint="Write one with `emrctl init`."
    )


def _environment() -> dict[str, str]:
    found = {}
    for name, value in sorted(os.environ.items()):
        rest = name.removeprefix(_PREFIX)
        if rest == name or rest in _OWN_VARIABLES:
            continue
        key = rest.lower().replace("__", ".")
        _check_variable(name, key.split(".")[0])
        found[key] = value
    return found


def _check_variable(name: str, top: str) -> None:
    known = [*ProjectSpec.model_fields]
    if top in known:
        return
    candidates = [*(_PREFIX + key.upper() for key in known), *(_PREFIX + v for v in _OWN_VARIABLES)]
    near = difflib.get_close_matches(name, candidates, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(sorted(candidates))}."
    raise UsageError(f"${name}: sets nothing that emrctl knows", hint=hint)


def _origin(key: str, mark: str) -> str:
    if mark == "$":
        return f"${_PREFIX}{key.upper().replace('.', '__')}"
    return f"--{key.rsplit('.', maxsplit=1)[-1].replace('_', '-')}"


def _put(value: dict[str, Any], path: list[str], item: Any, source: str) -> None:
    for part in path[:-1]:
        inner = value.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{source}: '{part}' holds no keys")
        value = inner
    value[path[-1]] = item


def _with_origins(
    document: yaml.Document,
    sources: Mapping[str, str],
    layers: list[tuple[dict[str, Any], str]],
) -> yaml.Document:
    """The document, with complaints about a layer's keys pointing at the variable or the flag."""
    layered = {tuple(key.split(".")): sources[key] for layer, _ in layers for key in layer}
    return _Layered(document.file, document.value, document.lines, layered)


@dataclass(frozen=True)
class _Layered(yaml.Document):
    origins: Mapping[tuple[str, ...], str]

    def where(self, path: yaml.KeyPath) -> str:
        for length in range(len(path), 0, -1):
            origin = self.origins.get(tuple(map(str, path[:length])))
            if origin is not None:
                return origin
        return super().where(path)


def _written(value: Any, path: yaml.KeyPath, document: yaml.Document) -> Iterator[tuple[str, str]]:
    """Each key of the file that holds a value and no further keys, with its line."""
    inner = value.items() if isinstance(value, dict) else enumerate(value or ())
    for key, item in inner:
        here = (*path, key)
        nested = isinstance(item, dict) or (
            isinstance(item, list) and any(isinstance(part, dict) for part in item)
        )
        if nested:
            yield from _written(item, here, document)
        else:
            yield ".".join(map(str, here)), document.where(here)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, str(index)))
    else:
        yield ".".join(path), value
