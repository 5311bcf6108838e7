"""What it takes to be a resource type of the local provider."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emrctl.aws.target import Target

Inputs = Mapping[str, Any]
Outputs = dict[str, Any]


class OperationCancelledError(Exception):
    """A wait was given up because somebody asked for it; what was waited for goes on."""


@dataclass(frozen=True, kw_only=True)
class Aws:
    """The AWS that is worked on, and the flag that ends every wait for it."""

    target: Target
    stop: threading.Event

    def client(self, service: str) -> Any:
        """A boto3 client for `service`."""
        return self.target.client(service)

    def pause(self) -> None:
        """The target's polling interval has passed; `StoppedError` once the flag is up."""
        if self.stop.wait(self.target.poll_s):
            raise OperationCancelledError


def _nothing(*_: Any) -> None:
    """No wait, no way to be found again: the default of a type that needs neither."""


def _as_it_was(_aws: Aws, _id: str, _inputs: Inputs) -> Outputs:
    """Nothing is asked: the inputs count as they were written down."""
    return {}


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """How one resource type is created, read, updated and deleted, under Pulumi's input names.

    `create` gives the id as soon as AWS has one; `settle` then waits until it can be used.
    `read` gives None where the resource is gone, and `delete` is content where it was.
    `update` puts the inputs named in its last argument in place, whatever stood there before.
    `find` gives the id that a resource with these inputs has, were it made before: a create that
    was cut off is taken up by it. No two of the type may share all that `unique` names.
    `observe` gives those inputs that AWS can be asked for, as they are there now.
    """

    create: Callable[[Aws, Inputs], str]
    read: Callable[[Aws, str, Inputs], Outputs | None]
    delete: Callable[[Aws, str, Inputs], None]
    update: Callable[[Aws, str, Inputs, frozenset[str]], None] = _nothing
    settle: Callable[[Aws, str, Inputs], None] = _nothing
    find: Callable[[Aws, Inputs], str | None] = _nothing
    observe: Callable[[Aws, str, Inputs], Outputs] = _as_it_was
    updates: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    unique: tuple[str, ...] = ()
    # Whether it may end by itself, so that the state alone does not tell.
    mortal: bool = False


def pairs(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Tags as most of AWS takes them."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def tags_of(found: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as Pulumi takes them, without AWS's own."""
    return {tag["Key"]: tag["Value"] for tag in found or [] if not tag["Key"].startswith("aws:")}


def document(now: Any, was: Any) -> str:
    """A policy as AWS has it now; in the words of `was` where it says the same."""
    found = json.loads(now) if isinstance(now, str) else now
    try:
        return str(was) if json.loads(str(was)) == found else json.dumps(found)
    except json.JSONDecodeError:
        return json.dumps(found)
