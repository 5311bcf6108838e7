"""Secrets in properties, names and paths, made unreadable before anything is kept or shown."""

from __future__ import annotations

import dataclasses
import functools
import operator
import re
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from emrctl.metrics.model import Record

T = TypeVar("T")
REDACTED = "*********(redacted)"

_WORDS = (
    r"secret|passw(?:or)?d|passphrase|passcode|token|credentials?|access[._-]?key(?:[._-]?id)?"
    r"|api[._-]?key|account[._-]?key|private[._-]?key|signature|\bpwd|\bsas|\bsig"
)
# Spark's own spark.redaction.regex, and what it lets through.
_SENSITIVE = re.compile(
    r"secret|passw(?:or)?d|passphrase|passcode|token|credential|access[._-]?key|api[._-]?key"
    r"|account[._-]?key|private[._-]?key|\bpwd\b",
    re.IGNORECASE,
)
# A word for a secret, what joins it to its value, and the value, which alone is hidden: neither
# `Tokenizer: x`, nor the line of a file, as in `Token.scala:23`.
_ASSIGNED = re.compile(
    rf"((?i:{_WORDS})s?(?:[A-Z]\w*|[._\-][\w.\-]*)?[\"']?"
    r"(?:\s*(?:=>?|:(?!//|\d{1,6}\b))\s*|\s+(?=[\"']?\S*[\d!#$%+/=]))[\"']?)"
    r"([^\s\"'&;,)}\]]+)"
)
_USER = re.compile(r"(://)[^/\s@\"']+@")
_BEARER = re.compile(r"\b((?:Bearer|Basic)\s+)[\w.~+/\-]{8,}=*", re.IGNORECASE)
_SHAPES = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\bgh[pousr]_\w{20,}|\bglpat-[\w\-]{16,}|\bxox[abprs]-[\w\-]{10,}|\bdapi[0-9a-f]{32}"
    r"|\beyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*"  # a JSON web token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL,
)
_SHORTEST = 6


def redacted(properties: Mapping[str, str]) -> dict[str, str]:
    """`properties` with the value of each that looks like a secret replaced, sorted by key."""
    return {text(key): redacted_value(key, properties[key]) for key in sorted(properties)}


def redacted_value(key: str, value: str) -> str:
    """`value`, or Spark's own mark where key or value look like a secret."""
    return REDACTED if _sensitive(key) or text(value) != value else value


@functools.lru_cache(maxsize=4096)
def _sensitive(key: str) -> bool:
    """Whether the name says that the value is a secret; every job tells the same names again."""
    return _SENSITIVE.search(key) is not None


@functools.lru_cache(maxsize=4096)
def text(value: str) -> str:
    """`value`, whatever sort of text, with the secrets in it replaced and the rest as it was."""
    found = _USER.sub(rf"\1{REDACTED}@", value)
    found = _ASSIGNED.sub(rf"\1{REDACTED}", found)
    return _SHAPES.sub(REDACTED, _BEARER.sub(rf"\1{REDACTED}", found))


class Secrets:
    """Values of properties that were secrets: hidden wherever else they stand."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._seen: dict[str, str] = {}

    def learn(self, properties: Mapping[Any, Any]) -> None:
        """Remember the values of the properties whose names say that they are secrets."""
        for key, value in properties.items():
            # Short ones, flags and numbers stand in many places that have nothing to do with it.
            if (
                isinstance(value, str)
                and len(value) >= _SHORTEST
                and not value.isdecimal()
                and value != REDACTED
                and _sensitive(str(key))
                and not re.fullmatch(r"[\w$]+(?:\.[\w$]+){2,}", value)  # a class
            ):
                self._values.add(value)
                self._seen.clear()

    def hidden(self, value: str) -> str:
        """`value` without secrets, those that were learned and those that look like one."""
        found = self._seen.get(value)
        if found is None:
            found = value
            for secret in self._values:
                found = found.replace(secret, REDACTED)
            found = self._seen[value] = text(found)
        return found

    def hidden_in(self, record: T) -> T:
        """`record` with every text in it hidden, at any depth."""
        changed = {}
        for name in _texts_of(cast("Any", type(record))):
            value = getattr(record, name)
            if (hidden := self._hide(value)) is not value:
                changed[name] = hidden
        if not changed:
            return record
        return cast("T", dataclasses.replace(cast("Any", record), **changed))

    def _hide(self, value: Any) -> Any:
        """The same object where there is nothing to hide in it."""
        if isinstance(value, str):
            return value if (hidden := self.hidden(value)) == value else hidden
        if isinstance(value, tuple):
            items = tuple(self._hide(item) for item in value)
            return value if all(map(operator.is_, items, value)) else items
        if isinstance(value, dict):
            found = {self.hidden(key): self._hide(item) for key, item in value.items()}
            return value if found == value else found
        return self.hidden_in(value) if isinstance(value, Record) else value


@functools.cache
def _texts_of(kind: Any) -> tuple[str, ...]:
    """Names of the fields that can hold text, also deep inside; a status is Spark's own word."""
    hints = typing.get_type_hints(kind)
    return tuple(name for name, hint in hints.items() if name != "status" and _holds_text(hint))


def _holds_text(hint: Any) -> bool:
    if hint is str:
        return True
    if isinstance(hint, type) and issubclass(hint, Record):
        return bool(_texts_of(cast("Any", hint)))
    return any(_holds_text(option) for option in typing.get_args(hint))
