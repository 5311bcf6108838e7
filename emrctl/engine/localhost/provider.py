"""The AWS resource types of `stacks/` over boto3, in the shape of a Pulumi provider.

Inputs and outputs go by Pulumi's names. The embedded engine calls it directly; behind the engine's
provider protocol it serves the real one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.aws.errors import translated
from emrctl.aws.target import Target
from emrctl.engine.localhost import emr, iam, instances, network, routes, s3, security_groups
from emrctl.engine.localhost.resource_type import Aws, Inputs, Outputs, ResourceType
from emrctl.errors import ProvisioningError

RESOURCE_TYPES: Mapping[str, ResourceType] = {
    **s3.RESOURCE_TYPES,
    **iam.RESOURCE_TYPES,
    **network.RESOURCE_TYPES,
    **routes.RESOURCE_TYPES,
    **security_groups.RESOURCE_TYPES,
    **instances.RESOURCE_TYPES,
    **emr.RESOURCE_TYPES,
}


@dataclass(frozen=True, kw_only=True)
class ResourceDiff:
    """Which inputs differ, which of them replace the resource, and whether the old goes first."""

    keys: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    delete_first: bool = False


class Provider:
    """Creates, reads, updates and deletes resources on one target.

    AWS's errors leave as `CredentialsError` or `ProvisioningError`; waits end with
    `StoppedError` once `stop` is set.
    """

    def __init__(self, target: Target, stop: threading.Event) -> None:
        self._aws = Aws(target=target, stop=stop)

    def check(self, token: str, inputs: Inputs) -> list[tuple[str, str]]:
        """Each input that the local target has not got, and why it is refused."""
        kind = self._kind(token)
        known = {key.partition(".")[0] for key in kind.updates | kind.replaces}
        why = "the local target has not got it; on AWS the real engine does"
        return [(key, why) for key in sorted(set(inputs) - known)]

    def diff(self, token: str, old: Inputs, new: Inputs) -> ResourceDiff:
        """What an update from `old` to `new` would mean."""
        kind = self._kind(token)
        keys = tuple(sorted(_differing(kind, old, new)))
        replaces = tuple(key for key in keys if key not in kind.updates)
        same = all(old.get(key) == new.get(key) for key in kind.unique)
        return ResourceDiff(
            keys=keys, replaces=replaces, delete_first=bool(replaces and kind.unique and same)
        )

    def create(self, token: str, inputs: Inputs) -> str:
        """The id of a new resource, which `settle` must see before it can be used."""
        with translated(f"creating {short(token)}"):
            return self._kind(token).create(self._aws, inputs)

    def settle(self, token: str, id_: str, inputs: Inputs) -> Outputs:
        """The outputs of a resource that was created, once it can be used."""
        with translated(f"waiting for {short(token)} {id_}"):
            self._kind(token).settle(self._aws, id_, inputs)
        outputs = self.read(token, id_, inputs)
        if outputs is None:
            msg = f"{short(token)} {id_} was created, and is gone"
            raise ProvisioningError(msg, hint="Run the same command again.")
        return outputs

    def read(self, token: str, id_: str, inputs: Inputs) -> Outputs | None:
        """The outputs as AWS has them now; None where the resource is gone."""
        with translated(f"reading {short(token)} {id_}"):
            found = self._kind(token).read(self._aws, id_, inputs)
        return None if found is None else {**inputs, **found}

    def observe(self, token: str, id_: str, inputs: Inputs) -> tuple[Outputs, Outputs] | None:
        """Inputs and outputs as AWS has them now; None where the resource is gone.

        What AWS is not asked for stays as `inputs` say.
        """
        with translated(f"reading {short(token)} {id_}"):
            found = self._kind(token).read(self._aws, id_, inputs)
            if found is None:
                return None
            now = {**inputs, **self._kind(token).observe(self._aws, id_, inputs)}
        return now, {**now, **found}

    def update(self, token: str, id_: str, inputs: Inputs, keys: frozenset[str]) -> Outputs:
        """The outputs, after the inputs named by `keys` were put in place."""
        with translated(f"updating {short(token)} {id_}"):
            self._kind(token).update(self._aws, id_, inputs, keys)
        return self.settle(token, id_, inputs)

    def delete(self, token: str, id_: str, inputs: Inputs) -> None:
        """The resource is gone; also where it was before."""
        with translated(f"deleting {short(token)} {id_}"):
            self._kind(token).delete(self._aws, id_, inputs)

    def find(self, token: str, inputs: Inputs) -> str | None:
        """The id of what an interrupted create of these inputs may have left."""
        with translated(f"looking for {short(token)}"):
            return self._kind(token).find(self._aws, inputs)

    def ended(self, token: str, id_: str, inputs: Inputs) -> bool:
        """Whether it ended by itself; False for what does not do so, without asking AWS."""
        return self._kind(token).mortal and self.read(token, id_, inputs) is None

    def updatable(self, token: str, inputs: Inputs) -> frozenset[str]:
        """The inputs that are put in place by an update."""
        return frozenset(key for key in self._kind(token).updates if _has(inputs, key))

    @staticmethod
    def _kind(token: str) -> ResourceType:
        kind = RESOURCE_TYPES.get(token)
        if kind is None:
            hint = "It is there on AWS alone: `target: aws`."
            raise ProvisioningError(f"the local target has no {short(token)}", hint=hint)
        return kind


def short(token: str) -> str:
    """`emr.Cluster` of `aws:emr/cluster:Cluster`."""
    _, module, name = token.split(":")
    return f"{module.partition('/')[0]}.{name}"


def _differing(kind: ResourceType, old: Inputs, new: Inputs) -> list[str]:
    """The keys that differ, those of a nested object as `group.count` where the kind has them."""
    nested = {key.partition(".")[0] for key in kind.updates | kind.replaces if "." in key}
    found: list[str] = []
    for key in set(old) | set(new):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key in nested and isinstance(before, dict) and isinstance(after, dict):
            both = set(before) | set(after)
            found += [f"{key}.{k}" for k in both if before.get(k) != after.get(k)]
        else:
            found.append(key)
    return found


def _has(inputs: Inputs, key: str) -> bool:
    value: Any = inputs
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True
