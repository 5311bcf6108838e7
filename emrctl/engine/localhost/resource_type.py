"""The interface of a resource type of the local provider."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.aws import listing
from emrctl.aws.target import Target

Inputs = Mapping[str, Any]
Outputs = dict[str, Any]


class OperationCancelledError(Exception):
    """A wait was cancelled; the operation on AWS continues."""


@dataclass(frozen=True, kw_only=True)
class Aws:
    """A target, and the flag that cancels all waits."""

    target: Target
    stop: threading.Event

    def client(self, service: str) -> Any:
        """Return a boto3 client."""
        return self.target.client(service)

    def pause(self) -> None:
        """Sleep for the polling interval; raise `OperationCancelledError` if `stop` is set."""
        if self.stop.wait(self.target.poll_s):
            raise OperationCancelledError


def _nothing(*_: Any) -> None:
    """Return None."""


def _no_inputs(*_: Any) -> Outputs:
    return {}


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """Operations of one resource type; inputs have Pulumi's names.

    `create` returns the id as soon as AWS has assigned one; `settle` waits until the resource is
    usable. `read` returns None if the resource does not exist, and `delete` ignores that. `update`
    sets the inputs named by its last argument. `find` returns the id of an existing resource with
    these inputs, to resume an interrupted creation. `observe` returns the current values of inputs.
    """

    create: Callable[[Aws, Inputs], str]
    read: Callable[[Aws, str, Inputs], Outputs | None]
    delete: Callable[[Aws, str, Inputs], None]
    update: Callable[[Aws, str, Inputs, frozenset[str]], None] = _nothing
    settle: Callable[[Aws, str, Inputs], None] = _nothing
    find: Callable[[Aws, Inputs], str | None] = _nothing
    observe: Callable[[Aws, str, Inputs], Outputs] = _no_inputs
    # Inputs that can be updated in place, and those that require a replacement.
    updates: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    # Two resources that have all of these inputs in common cannot coexist.
    unique: tuple[str, ...] = ()
    # Whether it can terminate by itself, so that its existence must be checked.
    can_terminate: bool = False


def tag_list(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Convert a mapping to AWS's list of tags."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def user_tags(item: Mapping[str, Any], key: str = "Tags") -> dict[str, str]:
    """Return an item's tags except those that AWS sets."""
    tags = listing.tags(item, key).items()
    return {name: value for name, value in tags if not name.startswith("aws:")}


def policy_document(current: Any, recorded: Any) -> str:
    """Return the current policy as JSON, in the formatting of `recorded` if both are equal."""
    policy = json.loads(current) if isinstance(current, str) else current
    try:
        return str(recorded) if json.loads(str(recorded)) == policy else json.dumps(policy)
    except json.JSONDecodeError:
        return json.dumps(policy)
