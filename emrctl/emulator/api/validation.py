"""Check requests against botocore's model of the EMR API, with AWS's errors.

A body that is not JSON, or a member of another type than the model's, is a SerializationException.
A missing member, or one outside the model's lengths, ranges, patterns and enums, is a
ValidationException that lists all violations, in the words of AWS.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from emrctl.emulator.api.service import ApiError

# Configurations are the only recursive member; EMR's own have at most two levels.
_MAX_DEPTH = 64
_MAX_VALUE_CHARACTERS = 256
# The model's patterns are Java's, which write characters beyond U+FFFF as two surrogates.
_SURROGATES = re.compile(r"\\uD800\\u(DC00-\\uDBFF|DBFF-\\uDC00)\\uDFFF")


def parse(body: bytes, shape: Any) -> dict[str, Any]:
    """Return the valid members of a request; `shape` is the operation's input in botocore's model.

    Members that are null or not in the model are omitted, as on AWS. Raise `ApiError`.
    """
    checker = _Checker()
    members = checker.structure_value(_load(body), shape, "")
    if checker.violations:
        raise ApiError(_report(checker.violations))
    return members


def _load(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a request's body."""
    try:
        document = json.loads(body.decode() or "{}", parse_constant=_reject_constant)
        json.dumps(document, ensure_ascii=False).encode()  # fails for a single surrogate
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _malformed(
            f"The request is not valid JSON: {reason[:_MAX_VALUE_CHARACTERS]}"
        ) from None
    if not isinstance(document, dict):
        raise _malformed("The request must be a JSON object.")
    return document


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _malformed(message: str) -> ApiError:
    return ApiError(message, code="SerializationException")


def _report(violations: list[str]) -> str:
    noun = "error" if len(violations) == 1 else "errors"
    return f"{len(violations)} validation {noun} detected: {'; '.join(violations)}"


@dataclass
class _Checker:
    """Collects the violations of a request."""

    violations: list[str] = field(default_factory=list)
    depth: int = 0

    def structure_value(self, value: Any, shape: Any, path: str) -> dict[str, Any]:
        """Return the members of a structure that are in the model."""
        members: dict[str, Any] = {}
        for name in _typed(value, dict, "an object", path):
            if value[name] is not None and name in shape.members:
                member_path = f"{path}.{_lower(name)}".lstrip(".")
                members[name] = self.value(value[name], shape.members[name], member_path)
        for name in shape.required_members:
            if name not in members:
                self.add(None, f"{path}.{_lower(name)}".lstrip("."), "Member must not be null")
        return members

    def value(self, value: Any, shape: Any, path: str) -> Any:
        """Return the value of any member, which is not null."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _malformed(f"{path[:_MAX_VALUE_CHARACTERS]} is nested too deeply.")
        try:
            check: Callable[[Any, Any, str], Any] = getattr(
                self, f"{shape.type_name}_value", self.number_value
            )
            return check(value, shape, path)
        finally:
            self.depth -= 1

    def list_value(self, value: Any, shape: Any, path: str) -> list[Any]:
        """Return the items of a list."""
        items = []
        for number, item in enumerate(_typed(value, list, "a list", path), start=1):
            item_path = f"{path}.{number}.member"
            if item is None:
                self.add(None, item_path, "Member must not be null")
            else:
                items.append(self.value(item, shape.member, item_path))
        self.limits(value, len(value), shape, path)
        return items

    def map_value(self, value: Any, shape: Any, path: str) -> dict[str, Any]:
        """Return the items of a map that are not null."""
        return {
            self.string_value(key, shape.key, path): self.value(
                item, shape.value, f"{path}.{key}.member"
            )
            for key, item in _typed(value, dict, "an object", path).items()
            if item is not None
        }

    def string_value(self, value: Any, shape: Any, path: str) -> str:
        """Return a string."""
        text: str = _typed(value, str, "a string", path)
        if shape.enum and text not in shape.enum:
            accepted = ", ".join(shape.enum)
            self.add(text, path, f"Member must satisfy enum value set: [{accepted}]")
        self.limits(text, len(text), shape, path)
        pattern = shape.metadata.get("pattern")
        if pattern and not _pattern(pattern).fullmatch(text):
            self.add(text, path, f"Member must satisfy regular expression pattern: {pattern}")
        return text

    def boolean_value(self, value: Any, _shape: Any, path: str) -> bool:
        """Return a boolean."""
        return bool(_typed(value, bool, "a boolean", path))

    def number_value(self, value: Any, shape: Any, path: str) -> int | float:
        """Return an integer, long, double or timestamp (seconds since the epoch)."""
        bits = {"integer": 31, "long": 63}.get(shape.type_name)
        types = int if bits else (int, float)
        number: int | float = _typed(value, types, "an integer" if bits else "a number", path)
        if isinstance(value, bool) or not -(1 << (bits or 63)) <= number < 1 << (bits or 63):
            raise _malformed(f"{path} is not a valid {shape.type_name}.")
        if shape.metadata.get("min", number) > number:
            self.bound(number, path, "value greater", shape.metadata["min"])
        if shape.metadata.get("max", number) < number:
            self.bound(number, path, "value less", shape.metadata["max"])
        return number

    def limits(self, value: Any, length: int, shape: Any, path: str) -> None:
        """Check the length of a list or string."""
        if length < shape.metadata.get("min", 0):
            self.bound(value, path, "length greater", shape.metadata["min"])
        if length > shape.metadata.get("max", math.inf):
            self.bound(value, path, "length less", shape.metadata["max"])

    def bound(self, value: Any, path: str, what: str, limit: float) -> None:
        """Add the violation of a limit."""
        self.add(value, path, f"Member must have {what} than or equal to {limit}")

    def add(self, value: Any, path: str, constraint: str) -> None:
        """Add a violation."""
        shown = "null" if value is None else f"'{str(value)[:_MAX_VALUE_CHARACTERS]}'"
        self.violations.append(
            f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"
        )


def _typed(value: Any, types: Any, noun: str, path: str) -> Any:
    if not isinstance(value, types):
        raise _malformed(f"{path or 'The request'} must be {noun}.")
    return value


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


@functools.cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(_SURROGATES.sub(r"\\U00010000-\\U0010ffff", pattern))
