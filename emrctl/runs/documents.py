"""Reading of stored JSON that may be damaged: each function raises `ValueError` with the reason."""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
# Deeper documents are rejected: functions that walk through them are recursive.
MAX_DEPTH = 64
_DIGITS_OF_64_BITS = 19


def decode(body: bytes, type_: type[T]) -> T:
    """Return a JSON document of this type; unknown keys are ignored."""
    if not body.strip():
        raise ValueError("it is empty")
    try:
        return msgspec.json.decode(body, type=type_)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def decode_any(body: bytes) -> Any:
    """Return a JSON document of any type, as other programs write it.

    Numbers that are not finite become None, integers of 19 digits and more floats, and halves of
    surrogate pairs `?`, so that the document can be printed and compared.
    """
    if not body.strip():
        raise ValueError("it is empty")
    try:
        document = json.loads(body, parse_int=_integer, parse_float=_finite, parse_constant=_none)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    check_depth(document)
    return _printable(document)


def check_depth(document: Any) -> None:
    """Raise `ValueError` if lists and objects are nested deeper than `MAX_DEPTH`."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _integer(text: str) -> int | float | None:
    return int(text) if len(text) < _DIGITS_OF_64_BITS else _finite(text)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _none(_text: str) -> None:
    """Return None for NaN, Infinity and -Infinity."""


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value
