"""Resource types of the local provider: their operations, and the form that most of them share."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from emrctl.aws import listing
from emrctl.aws.errors import get_or_none
from emrctl.aws.target import Target

Inputs = Mapping[str, Any]
Outputs = dict[str, Any]

STACK_TAG = "emrctl:stack"


class OperationCancelledError(Exception):
    """A wait was cancelled; the operation on AWS continues."""


@dataclass(frozen=True, kw_only=True)
class Aws:
    """A target, and the flag that cancels all waits. With `once`, requests are not repeated."""

    target: Target
    stop: threading.Event
    once: bool = False

    def client(self, service: str) -> Any:
        """Return a boto3 client."""
        return self.target.client(service, once=self.once)

    def pause(self) -> None:
        """Sleep for the polling interval; raise `OperationCancelledError` if `stop` is set."""
        if self.stop.wait(self.target.poll_s):
            raise OperationCancelledError


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """Operations of one resource type; inputs have Pulumi's names.

    `updates` are the inputs that can be updated in place, `replaces` those that require a
    replacement. Two resources that have all `unique` inputs in common cannot coexist.
    `can_terminate`: it can terminate by itself, so that its existence must be checked. `parent` is
    the input with the id of a resource that can have only one such resource, even after the
    deletion: it is replaced only together with its parent. `only_one` is the error and its hint.
    """

    updates: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    unique: tuple[str, ...] = ()
    can_terminate: bool = False
    parent: str = ""
    only_one: tuple[str, str] = ("", "")

    @property
    def supported(self) -> frozenset[str]:
        """All inputs that localhost supports."""
        return self.updates | self.replaces

    def create(self, aws: Aws, inputs: Inputs) -> str:
        """Create a resource and return its id as soon as AWS has assigned one."""
        raise NotImplementedError

    def settle(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        """Wait until a created resource is usable."""

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the id of an existing resource, to resume an interrupted creation."""
        raise NotImplementedError

    def read(self, aws: Aws, id_: str, inputs: Inputs) -> Outputs | None:
        """Return the outputs; None if the resource does not exist."""
        raise NotImplementedError

    def observe(self, _aws: Aws, _id: str, _inputs: Inputs) -> Outputs:
        """Return the current values of inputs."""
        return {}

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        """Set the inputs named by `keys`."""

    def delete(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        """Delete the resource; no error if it does not exist."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ApiResource(ResourceType):
    """A resource type with one operation each to create, describe and delete a resource.

    `operations` are their names. `arguments` maps inputs to arguments of the first, and these
    inputs require a replacement unless `updates` has them. The arguments named by `key` identify
    a resource; its id is their values joined by `separator`. `missing` are the error codes for a
    resource that does not exist, `item` is the key of the description in a response, and `outputs`
    maps outputs to the description's keys.
    """

    service: str
    operations: tuple[str, str, str]
    arguments: Mapping[str, str]
    key: tuple[str, ...]
    missing: tuple[str, ...]
    separator: str = ":"
    item: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def supported(self) -> frozenset[str]:
        """All inputs that localhost supports."""
        return self.updates | self.replaces | frozenset(self.arguments)

    def create(self, aws: Aws, inputs: Inputs) -> str:
        """Call the first operation; return the id that its arguments have."""
        arguments = self.create_arguments(inputs)
        self.call(aws, 0, **arguments)
        return self.join_key(arguments)

    def create_arguments(self, inputs: Inputs) -> dict[str, Any]:
        """Return the arguments of the first operation."""
        arguments: dict[str, Any] = {}
        for name, path in self.arguments.items():
            if name in inputs:
                _set(arguments, path, pascal(inputs[name]))
        return arguments

    def call(self, aws: Aws, index: int, **arguments: Any) -> Any:
        """Call one of the operations."""
        return getattr(aws.client(self.service), self.operations[index])(**arguments)

    def join_key(self, arguments: Mapping[str, Any]) -> str:
        """Return the id of the resource that these arguments identify."""
        return self.separator.join(str(arguments[name]) for name in self.key)

    def split_key(self, id_: str) -> dict[str, str]:
        """Return the arguments that identify the resource."""
        return dict(zip(self.key, id_.split(self.separator, len(self.key) - 1), strict=True))

    def describe(self, aws: Aws, id_: str) -> dict[str, Any] | None:
        """Return AWS's description of a resource; None if it does not exist."""
        response: dict[str, Any] | None = get_or_none(
            lambda: self.call(aws, 1, **self.split_key(id_)), *self.missing
        )
        return response[self.item] if response and self.item else response

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the id if a resource with it exists."""
        id_ = self.join_key(self.create_arguments(inputs))
        return None if self.describe(aws, id_) is None else id_

    def read(self, aws: Aws, id_: str, _inputs: Inputs) -> Outputs | None:
        """Return the outputs; None if the resource does not exist."""
        item = self.describe(aws, id_)
        return None if item is None else {name: item[key] for name, key in self.outputs.items()}

    def update(self, aws: Aws, _id: str, inputs: Inputs, keys: frozenset[str]) -> None:
        """Call the first operation again; types whose operation does not overwrite override it."""
        if keys:
            self.call(aws, 0, **self.create_arguments(inputs))

    def delete(self, aws: Aws, id_: str, _inputs: Inputs) -> None:
        """Delete the resource; no error if it does not exist."""
        get_or_none(lambda: self.call(aws, 2, **self.split_key(id_)), *self.missing)


@dataclass(frozen=True, kw_only=True)
class Ec2Resource(ApiResource):
    """A resource type of EC2: its responses are lists, and EC2 assigns ids.

    `attributes` are inputs that EC2 sets one by one after the creation.
    """

    service: str = "ec2"
    attributes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The name in operations: `route_table` of create_route_table."""
        return self.operations[0].partition("_")[2]

    def create(self, aws: Aws, inputs: Inputs) -> str:
        """Create a tagged resource and return its id."""
        arguments = self.create_arguments(inputs)
        if "tags" in self.updates:
            kind = self.kind.replace("_", "-")
            arguments["TagSpecifications"] = tag_specifications(kind, inputs)
        response = self.call(aws, 0, **arguments)
        return str(response.get(self.item, response)[self.key[0]])

    def settle(self, aws: Aws, id_: str, inputs: Inputs) -> None:
        """Set the attributes."""
        self._set_attributes(aws, id_, inputs, self.attributes)

    def describe(self, aws: Aws, id_: str) -> dict[str, Any] | None:
        """Return EC2's description of a resource; None if it does not exist."""
        ids = {f"{self.key[0]}s": [id_]}
        response = get_or_none(lambda: self.call(aws, 1, **ids), *self.missing)
        return next(self._existing(response), None) if response else None

    def _existing(self, response: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the items of a response; EC2 lists deleted endpoints for a while."""
        for item in response[f"{self.item}s"]:
            if str(item.get("State", "")).lower() not in {"deleting", "deleted"}:
                yield item

    def find(self, aws: Aws, inputs: Inputs) -> str | None:
        """Return the id of the stack's resource of this type, if any."""
        filters = stack_filter(inputs)
        if filters is None:
            return None
        if "vpcId" in self.arguments:
            filters.append({"Name": "vpc-id", "Values": [inputs["vpcId"]]})
        items = list(self._existing(self.call(aws, 1, Filters=filters)))
        return str(items[-1][self.key[0]]) if items else None

    def observe(self, aws: Aws, id_: str, _inputs: Inputs) -> Outputs:
        """Return the current tags."""
        return {"tags": user_tags(self.describe(aws, id_) or {})} if "tags" in self.updates else {}

    def update(self, aws: Aws, id_: str, inputs: Inputs, keys: frozenset[str]) -> None:
        """Set attributes and tags."""
        self._set_attributes(aws, id_, inputs, keys & set(self.attributes))
        if "tags" in keys:
            replace_tags(aws, id_, inputs)

    def _set_attributes(self, aws: Aws, id_: str, inputs: Inputs, names: Iterable[str]) -> None:
        for name in names:
            if name in inputs:
                attribute = {_pascal_name(name): {"Value": inputs[name]}}
                modify = getattr(aws.client("ec2"), f"modify_{self.kind}_attribute")
                modify(**self.split_key(id_), **attribute)


def _set(arguments: dict[str, Any], path: str, value: Any) -> None:
    """Set a nested argument: `Rules[]` in `Controls.Rules[]` is a list with the one value."""
    *parents, name = path.split(".")
    for parent in parents:
        arguments = arguments.setdefault(parent, {})
    arguments[name.removesuffix("[]")] = [value] if name.endswith("[]") else value


def pascal(value: Any) -> Any:
    """Convert Pulumi's names to those of AWS's API: `noncurrentDays` to NoncurrentDays."""
    if isinstance(value, dict):
        return {_pascal_name(key): pascal(item) for key, item in value.items()}
    return [pascal(item) for item in value] if isinstance(value, list) else value


_SPECIAL_NAMES = {
    "id": "ID",
    "sseAlgorithm": "SSEAlgorithm",
    "kmsMasterKeyId": "KMSMasterKeyID",
}


def _pascal_name(name: str) -> str:
    return _SPECIAL_NAMES.get(name, name[:1].upper() + name[1:])


def tag_list(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Convert a mapping to AWS's list of tags."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def user_tags(item: Mapping[str, Any], key: str = "Tags") -> dict[str, str]:
    """Return an item's tags except those that AWS sets."""
    tags = listing.tags(item, key).items()
    return {name: value for name, value in tags if not name.startswith("aws:")}


def tag_specifications(kind: str, inputs: Inputs) -> list[dict[str, Any]]:
    """Return the tags of `inputs` as an argument of EC2's create operations."""
    tags = tag_list(inputs.get("tags"))
    return [{"ResourceType": kind, "Tags": tags}] if tags else []


def replace_tags(aws: Aws, id_: str, inputs: Inputs) -> None:
    """Set the tags of `inputs` on an EC2 resource and remove all others."""
    ec2, tags = aws.client("ec2"), inputs.get("tags", {})
    filters = [{"Name": "resource-id", "Values": [id_]}]
    removed = sorted(listing.tags(ec2.describe_tags(Filters=filters)).keys() - set(tags))
    if removed:
        ec2.delete_tags(Resources=[id_], Tags=[{"Key": key} for key in removed])
    if tags:
        ec2.create_tags(Resources=[id_], Tags=tag_list(tags))


def stack_filter(inputs: Inputs) -> list[dict[str, Any]] | None:
    """Return EC2's filter for the stack's resources; None if the inputs have no stack tag."""
    stack = inputs.get("tags", {}).get(STACK_TAG)
    return None if stack is None else [{"Name": f"tag:{STACK_TAG}", "Values": [stack]}]


def policy_document(current: Any, recorded: Any) -> str:
    """Return the current policy as JSON, in the formatting of `recorded` if both are equal."""
    policy = json.loads(current) if isinstance(current, str) else current
    try:
        return str(recorded) if json.loads(str(recorded)) == policy else json.dumps(policy)
    except json.JSONDecodeError:
        return json.dumps(policy)
