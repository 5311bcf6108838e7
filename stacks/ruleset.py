"""All rules at once, and what of a project's resources they do not find in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stacks import rules_cluster, rules_iam, rules_instances, rules_network, rules_storage
from stacks.rules import Resource, Resources, registered

# A module's rules are known once it is imported.
MODULES = (rules_storage, rules_network, rules_cluster, rules_instances, rules_iam)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A rule that does not hold, and what breaks it."""

    rule: str
    title: str
    what: str


def every() -> dict[str, str]:
    """The ids of all rules with their titles."""
    return {name: title for name, (title, _) in registered().items()}


def broken(items: Iterable[Resource]) -> tuple[Broken, ...]:
    """The rules that these resources do not hold."""
    found = Resources(items)
    return tuple(
        Broken(rule=name, title=title, what=what)
        for name, (title, check) in registered().items()
        for what in check(found)
    )
