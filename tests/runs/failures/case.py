"""A failing program, and whether a text names the cause of its failure.

There are three kinds of run: `client` and `cluster` deploy mode on EMR, and `ec2` on a standalone
cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CLIENT, CLUSTER, EC2 = KINDS = ("client", "cluster", "ec2")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A program, how it is submitted and the texts that the named cause contains.

    A cause of None is that of a cancelled run: there is none. `also` are further texts, `never`
    are texts that the cause must not contain.
    """

    program: str
    cause: str | None
    also: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    conf: Mapping[str, str] = field(default_factory=dict)
    script: str = ""


def is_right(case: Case, failure: str | None) -> bool:
    """Return whether the text names the cause of the case."""
    if case.cause is None or failure is None:
        return case.cause is failure
    wrong = (*case.never, "OnOutOfMemoryError", "kill %p")
    expected = (case.cause, *case.also)
    return all(text in failure for text in expected) and not any(text in failure for text in wrong)
