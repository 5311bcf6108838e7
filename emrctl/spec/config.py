"""A project's configuration: `emrctl.yaml`, overridden by the environment, overridden by flags.

`emrctl.yaml` is searched from the working directory upwards. `EMRCTL_REGION` sets `region` and
`EMRCTL_CLUSTER__CORE__COUNT` sets `cluster.core.count`. Each value keeps its source.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emrctl import __version__
from emrctl.errors import UsageError
from emrctl.paths import write_atomically
from emrctl.spec import yaml

if TYPE_CHECKING:
    from emrctl.spec import ProjectSpec

FILE_NAME = "emrctl.yaml"
STATE_FOLDER = ".emrctl"
# Keys whose last part is a name that the user chose.
_USER_NAMES = re.compile(r"\.(?:env|conf|properties)\.")
_PREFIX = "EMRCTL_"
# Settings of emrctl itself, which are not keys of a project.
_OWN_VARIABLES = frozenset({"HOME", "CACHE", "CONFIG", "MAVEN_MIRROR", "EMULATOR", "NODE_ROOT"})


@dataclass(frozen=True)
class ConfigValue:
    """A value with its dotted key and its source."""

    key: str
    value: Any
    source: str


@dataclass(frozen=True, kw_only=True)
class Header:
    """The values of a project that find its runs."""

    target: Literal["aws", "local"]
    region: str
    profile: str | None


@dataclass(frozen=True)
class Config:
    """A validated project, its folder, and the source of every value that was set."""

    project: ProjectSpec
    root: Path
    sources: Mapping[str, str]

    @property
    def header(self) -> Header:
        """The values that find the project's runs."""
        project = self.project
        return Header(target=project.target, region=project.region, profile=project.profile)

    @property
    def state_folder(self) -> Path:
        """Folder of the project's stacks and runs; it may not exist."""
        return self.root / STATE_FOLDER

    def values(self) -> Iterator[ConfigValue]:
        """Yield every value with its source, `default` if it was not set; secrets are redacted."""
        from emrctl import redact

        for key, value in _leaves(self.project.model_dump(mode="json"), ()):
            name = _USER_NAMES.search(key)
            shown = redact.value(key[name.end() :], value) if name else value
            if isinstance(shown, list):  # of arguments, in which a name can precede its value
                texts = iter(redact.arguments(i for i in shown if isinstance(i, str)))
                shown = [next(texts) if isinstance(i, str) else i for i in shown]
            yield ConfigValue(key, shown, self._source(key))

    def _source(self, key: str) -> str:
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            source = self.sources.get(".".join(parts[:length]))
            if source is not None:
                return source
        return "default"


def load(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """Load and validate the configuration; `UsageError` names the file and line, variable or flag.

    `flags` maps dotted keys to values; None values are ignored.
    """
    path = (file or find()).absolute()
    marker = _Marker(path, flags or {})
    header = marker.read()
    if header is not None:
        return _KnownConfig(path.parent, header, lambda: _load(path, flags or {}))
    config = _load(path, flags or {})
    marker.write(config.header)
    return config


def _load(path: Path, flags: Mapping[str, Any]) -> Config:
    from emrctl.spec import ProjectSpec

    document = yaml.read(path)
    value = _copy(document.value)
    origins: dict[str, str] = {}
    for key, item, origin in (*_environment(), *_flags(flags)):
        origins[key] = origin
        _put(value, key.split("."), item, origin)
    layered = _Layered(document.file, document.value, document.lines, origins)
    project = yaml.check(ProjectSpec, layered, value)
    sources = {**dict(_written(document.value, (), document)), **origins}
    return Config(project=project, root=path.parent, sources=sources)


class _KnownConfig(Config):
    """A configuration that an earlier command validated: it is parsed when the project is needed.

    Listing runs takes half of the time without pydantic's models.
    """

    def __init__(self, root: Path, header: Header, parse: Callable[[], Config]) -> None:
        for name, value in (("root", root), ("_header", header), ("_parse", parse)):
            object.__setattr__(self, name, value)

    @functools.cached_property
    def _parsed(self) -> Config:
        config: Config = self._parse()  # type: ignore[attr-defined]
        return config

    @property
    def project(self) -> ProjectSpec:
        return self._parsed.project

    @property
    def sources(self) -> Mapping[str, str]:
        return self._parsed.sources

    @property
    def header(self) -> Header:
        header: Header = self._header  # type: ignore[attr-defined]
        return header


class _Marker:
    """A file with the header of the last valid configuration, and a hash of all that it is from."""

    def __init__(self, path: Path, flags: Mapping[str, Any]) -> None:
        self._path = path.parent / STATE_FOLDER / "config.json"
        variables = {k: v for k, v in os.environ.items() if k.startswith(_PREFIX)}
        with suppress(OSError):
            source = [
                __version__,
                path.name,
                path.read_text(errors="replace"),
                variables,
                dict(flags),
            ]
            text = json.dumps(source, sort_keys=True, default=str)
            self._hash = hashlib.sha256(text.encode(errors="replace")).hexdigest()

    def read(self) -> Header | None:
        try:
            document = json.loads(self._path.read_bytes())
            return Header(**document["header"]) if document["hash"] == self._hash else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, header: Header) -> None:
        """Write the file if the project's folder exists and can be written."""
        if self._path.parent.is_dir():
            with suppress(OSError):
                document = {"hash": self._hash, "header": asdict(header)}
                write_atomically(self._path, json.dumps(document), 0o600)


def without_file(values: Mapping[str, Any], flags: Mapping[str, Any]) -> ProjectSpec:
    """Return the project of `values` and `flags`; `UsageError` names the flag."""
    from emrctl.spec import ProjectSpec

    value, origins = dict(values), {}
    for key, item, origin in _flags(flags):
        value[key], origins[key] = item, origin
    return yaml.check(ProjectSpec, _Layered(FILE_NAME, {}, {}, origins), value)


def find() -> Path:
    """Return `$EMRCTL_CONFIG`, or the nearest `emrctl.yaml` from the working directory upwards."""
    chosen = os.environ.get("EMRCTL_CONFIG")
    if chosen:
        return Path(chosen)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise UsageError(
        f"no {FILE_NAME} in this folder or above", hint="Create one with `emrctl init`."
    )


def _environment() -> Iterator[tuple[str, str, str]]:
    """Yield key, value and origin of each variable."""
    for name, value in sorted(os.environ.items()):
        rest = name.removeprefix(_PREFIX)
        if rest == name or rest in _OWN_VARIABLES:
            continue
        key = rest.lower().replace("__", ".")
        _check_variable(name, key.split(".")[0])
        yield key, value, f"${name}"


def _flags(flags: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield key, value and origin of each flag that is set."""
    for key, value in flags.items():
        if value is not None:
            yield key, value, f"--{key.rpartition('.')[2].replace('_', '-')}"


def _check_variable(name: str, top: str) -> None:
    from emrctl.spec import ProjectSpec

    known = [*ProjectSpec.model_fields]
    if top in known:
        return
    candidates = [*(_PREFIX + key.upper() for key in known), *(_PREFIX + v for v in _OWN_VARIABLES)]
    near = difflib.get_close_matches(name, candidates, n=1)
    hint = (
        f"Did you mean {near[0]}?" if near else f"Known variables: {', '.join(sorted(candidates))}."
    )
    raise UsageError(f"${name}: unknown setting", hint=hint)


def _put(value: dict[str, Any], path: list[str], item: Any, source: str) -> None:
    for part in path[:-1]:
        inner = value.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{source}: '{part}' has no keys")
        value = inner
    value[path[-1]] = item


@dataclass(frozen=True)
class _Layered(yaml.Document):
    """A document in which a variable or flag is the location of the keys that it sets."""

    origins: Mapping[str, str]

    def where(self, path: yaml.KeyPath) -> str:
        for length in range(len(path), 0, -1):
            origin = self.origins.get(".".join(map(str, path[:length])))
            if origin is not None:
                return origin
        return super().where(path)


def _written(value: Any, path: yaml.KeyPath, document: yaml.Document) -> Iterator[tuple[str, str]]:
    """Yield each leaf key of the file with its location."""
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
