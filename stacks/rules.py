"""The rules of checkov and Security Hub that the program's resources are held against.

Each is a function of the declared resources that names what breaks it. They read the inputs as
the provider gets them, so that they say the same of a preview, of a test and of what will be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

ANYWHERE = ("0.0.0.0/0", "::/0")


class Resource(Protocol):
    """What a rule reads of a declared resource: Pulumi's type and the provider's inputs."""

    @property
    def type(self) -> str:
        """Pulumi's token, `aws:s3/bucket:Bucket`."""

    @property
    def name(self) -> str:
        """Its name in the program."""

    @property
    def inputs(self) -> dict[str, Any]:
        """Its inputs, under the provider's camelCase names."""


class Resources:
    """All resources of a project's stacks, found by type."""

    def __init__(self, items: Iterable[Resource]) -> None:
        self._items = tuple(items)

    def of(self, kind: str) -> list[Resource]:
        """Those of one type, `Bucket` or `SecurityGroup`."""
        return [item for item in self._items if item.type.rpartition(":")[2] == kind]

    def inputs(self, kind: str) -> dict[str, Any]:
        """The inputs of the first of one type; empty where there is none."""
        found = self.of(kind)
        return found[0].inputs if found else {}


Check = Callable[[Resources], Iterator[str]]
_RULES: dict[str, tuple[str, Check]] = {}


def rule(title: str, *ids: str) -> Callable[[Check], Check]:
    """Registers a check under the ids by which others know it."""

    def keep(check: Check) -> Check:
        _RULES.update(dict.fromkeys(ids, (title, check)))
        return check

    return keep


def registered() -> Mapping[str, tuple[str, Check]]:
    """Every rule whose module was imported: its title and its check, by its id."""
    return _RULES


def documents(found: Resources) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each statement of the policies that roles get, with the policy's name in the program."""
    for item in found.of("RolePolicy"):
        for statement in json.loads(item.inputs["policy"])["Statement"]:
            yield item.name, statement


def listed(value: Any) -> list[Any]:
    """A policy's value as a list, whether it is one or not."""
    return value if isinstance(value, list) else [value]
