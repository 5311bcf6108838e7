"""Cluster specs of both kinds, selected by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ValidationError
from pydantic_core import InitErrorDetails

from emrctl.spec.ec2 import Ec2ClusterSpec
from emrctl.spec.emr import ClusterSpec

KINDS: dict[str, type[ClusterSpec | Ec2ClusterSpec]] = {
    "emr": ClusterSpec,
    "ec2": Ec2ClusterSpec,
}


def _of_its_kind(value: Any) -> Any:
    """Validate the value as a cluster of its kind, by default emr.

    Not a pydantic union, which would report the errors of every kind.
    """
    if not isinstance(value, dict):
        return value
    kind = value.get("kind", "emr")
    if kind not in KINDS:
        expected = {"expected": " or ".join(f"'{name}'" for name in KINDS)}
        fault = InitErrorDetails(type="literal_error", loc=("kind",), input=kind, ctx=expected)
        raise ValidationError.from_exception_data("cluster", [fault])
    return KINDS[kind].model_validate(value)


AnyClusterSpec = ClusterSpec | Ec2ClusterSpec
T = TypeVar("T", ClusterSpec, Ec2ClusterSpec)


def as_kind(spec: AnyClusterSpec, kind: type[T]) -> T:
    """Return `spec` if it is of that kind, otherwise the kind's defaults with its name and tags."""
    return spec if isinstance(spec, kind) else kind(name=spec.name, tags=spec.tags)


ClusterField = Annotated[ClusterSpec | Ec2ClusterSpec, BeforeValidator(_of_its_kind)]
