"""Base of the records of a run: dataclasses that convert to plain JSON values and back."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Self


class Record:
    """Base of the dataclasses that convert to plain JSON values and back."""

    _figures_before: ClassVar[str] = ""

    def __init_subclass__(cls, figures_before: str = "") -> None:
        """Place inherited figures before that field in JSON and tables; default: at the end."""
        cls._figures_before = figures_before

    @classmethod
    @functools.cache
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of the fields in the order of JSON keys and table columns."""
        names = [item.name for item in dataclasses.fields(typing.cast("Any", cls))]
        own = [name for name in names if name in cls.__annotations__]
        at = own.index(cls._figures_before) if cls._figures_before else len(own)
        own[at:at] = [name for name in names if name not in cls.__annotations__]
        return tuple(own)

    def to_json(self) -> dict[str, Any]:
        """Return the record as dicts, lists and scalars."""
        return {name: _plain(getattr(self, name)) for name in self.field_names()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the record that `to_json` wrote; keys of later versions are ignored."""
        parsers = _parsers(typing.cast("Any", cls))
        return cls(**{key: parsers[key](item) for key, item in document.items() if key in parsers})


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@functools.cache
def _parsers(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {name: _parser(hints[name]) for name in cls.field_names()}


def _parser(hint: Any) -> Any:
    """Return a function that converts a JSON value to the type `hint`."""
    options = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        inner = next(_parser(option) for option in options if option is not types.NoneType)
        return lambda value: None if value is None else inner(value)
    if typing.get_origin(hint) is tuple:
        each = _parser(options[0])
        return lambda value: tuple(each(item) for item in value)
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.from_json
    return lambda value: value
