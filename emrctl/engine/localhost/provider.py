"""The local provider: AWS resource types over boto3 with the interface of a Pulumi provider.

The embedded engine calls it directly; Pulumi's engine calls it over gRPC.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from emrctl.aws.errors import translated
from emrctl.aws.target import Target
from emrctl.engine.localhost import (
    emr,
    iam,
    instance_fleets,
    instance_groups,
    instances,
    network,
    s3,
)
from emrctl.engine.localhost.resource_type import Aws, Inputs, Outputs, ResourceType
from emrctl.errors import ProvisioningError

RESOURCE_TYPES: Mapping[str, ResourceType] = {
    **s3.RESOURCE_TYPES,
    **iam.RESOURCE_TYPES,
    **network.RESOURCE_TYPES,
    **instances.RESOURCE_TYPES,
    **emr.RESOURCE_TYPES,
    **instance_groups.RESOURCE_TYPES,
    **instance_fleets.RESOURCE_TYPES,
}


@dataclass(frozen=True, kw_only=True)
class ResourceDiff:
    """Inputs that differ, those that require a replacement, and its order."""

    keys: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    delete_first: bool = False


class Provider:
    """Creates, reads, updates and deletes resources on one target.

    Raises `CredentialsError` or `ProvisioningError` for AWS's errors, and `OperationCancelledError`
    if `stop` is set during a wait.
    """

    def __init__(self, target: Target, stop: threading.Event) -> None:
        self._aws = Aws(target=target, stop=stop)

    def check(self, token: str, inputs: Inputs) -> list[tuple[str, str]]:
        """Return each input that is not supported, and the reason."""
        supported = {key.partition(".")[0] for key in self._type(token).supported}
        return [(key, "not supported on localhost") for key in sorted(set(inputs) - supported)]

    def diff(self, token: str, old: Inputs, new: Inputs) -> ResourceDiff:
        """Return the differences of two sets of inputs.

        Raise `ProvisioningError` for a replacement that AWS does not support.
        """
        resource_type = self._type(token)
        keys = tuple(sorted(_differing(resource_type, old, new)))
        replaces = tuple(key for key in keys if key not in resource_type.updates)
        if resource_type.parent and replaces and resource_type.parent not in replaces:
            why, hint = resource_type.only_one
            msg = f"{short(token)}: {', '.join(replaces)} cannot be changed: {why}"
            raise ProvisioningError(msg, hint=hint)
        unique = resource_type.unique
        conflict = bool(unique) and all(old.get(key) == new.get(key) for key in unique)
        return ResourceDiff(keys=keys, replaces=replaces, delete_first=bool(replaces) and conflict)

    def create(self, token: str, inputs: Inputs) -> str:
        """Create a resource and return its id; `settle` waits until it is usable.

        After an `UnavailableError` the resource may exist: `find` returns it.
        """
        with translated(f"creating {short(token)}"):
            return self._type(token).create(replace(self._aws, once=True), inputs)

    def settle(self, token: str, id_: str, inputs: Inputs) -> Outputs:
        """Wait until a created resource is usable and return its outputs."""
        with translated(f"waiting for {short(token)} {id_}"):
            self._type(token).settle(self._aws, id_, inputs)
        outputs = self.read(token, id_, inputs)
        if outputs is None:
            msg = f"{short(token)} {id_} was deleted during its creation"
            raise ProvisioningError(msg, hint="Run the same command again.")
        return outputs

    def read(self, token: str, id_: str, inputs: Inputs) -> Outputs | None:
        """Return the current outputs; None if the resource does not exist."""
        with translated(f"reading {short(token)} {id_}"):
            outputs = self._type(token).read(self._aws, id_, inputs)
        return None if outputs is None else {**inputs, **outputs}

    def observe(self, token: str, id_: str, inputs: Inputs) -> tuple[Outputs, Outputs] | None:
        """Return the current inputs and outputs; None if the resource does not exist.

        Inputs that cannot be read from AWS keep their values.
        """
        with translated(f"reading {short(token)} {id_}"):
            outputs = self._type(token).read(self._aws, id_, inputs)
            if outputs is None:
                return None
            current = {**inputs, **self._type(token).observe(self._aws, id_, inputs)}
        return current, {**current, **outputs}

    def update(self, token: str, id_: str, inputs: Inputs, keys: frozenset[str]) -> Outputs:
        """Set the inputs named by `keys` and return the outputs."""
        with translated(f"updating {short(token)} {id_}"):
            self._type(token).update(self._aws, id_, inputs, keys)
        return self.settle(token, id_, inputs)

    def delete(self, token: str, id_: str, inputs: Inputs) -> None:
        """Delete a resource; no error if it does not exist."""
        with translated(f"deleting {short(token)} {id_}"):
            self._type(token).delete(self._aws, id_, inputs)

    def find(self, token: str, inputs: Inputs) -> str | None:
        """Return the id of the resource that an interrupted creation may have left."""
        with translated(f"finding {short(token)}"):
            return self._type(token).find(self._aws, inputs)

    def is_terminated(self, token: str, id_: str, inputs: Inputs) -> bool:
        """Whether a resource of a type that can terminate by itself does not exist any more."""
        return self._type(token).can_terminate and self.read(token, id_, inputs) is None

    def updatable(self, token: str, inputs: Inputs) -> frozenset[str]:
        """Return the inputs that can be updated in place."""
        return frozenset(key for key in self._type(token).updates if _has(inputs, key))

    @staticmethod
    def _type(token: str) -> ResourceType:
        resource_type = RESOURCE_TYPES.get(token)
        if resource_type is None:
            msg = f"{short(token)} is not supported on localhost"
            raise ProvisioningError(msg, hint="Use `target: aws`.")
        return resource_type


def short(token: str) -> str:
    """Shorten a type token: `emr.Cluster` for `aws:emr/cluster:Cluster`."""
    _, module, name = token.split(":")
    return f"{module.partition('/')[0]}.{name}"


def _differing(resource_type: ResourceType, old: Inputs, new: Inputs) -> list[str]:
    """Return the keys that differ; nested ones as `group.count` if the type declares them so."""
    nested = {key.partition(".")[0] for key in resource_type.supported if "." in key}
    keys: list[str] = []
    for key in set(old) | set(new):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key in nested and isinstance(before, dict) and isinstance(after, dict):
            both = set(before) | set(after)
            keys += [f"{key}.{k}" for k in both if before.get(k) != after.get(k)]
        else:
            keys.append(key)
    return keys


def _has(inputs: Inputs, key: str) -> bool:
    value: Any = inputs
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True
