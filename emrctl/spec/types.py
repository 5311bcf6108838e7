"""Field types and the base class of specs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from emrctl.aws import instance_types, rules
from emrctl.aws.spark_conf import heap_mb, memory_mb
from emrctl.errors import SpecError
from emrctl.spec.yaml import Null


def text_of(value: Any) -> Any:
    """Convert numbers and booleans of Python to the text that EMR and Spark use."""
    if isinstance(value, Null):
        if not value:
            raise ValueError("a value is missing: write '' for an empty text")
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _texts(value: Any) -> Any:
    return [text_of(item) for item in value] if isinstance(value, list | tuple) else value


def _text_values(value: Any) -> Any:
    return {k: text_of(item) for k, item in value.items()} if isinstance(value, dict) else value


def _split(value: Any) -> Any:
    """Split a text with commas, as spark-submit takes it, and the texts of a list."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return value
    parts = [str(text_of(item)).split(",") for item in items]
    return [part.strip() for item in parts for part in item if part.strip()]


def to_text(value: Any) -> str:
    """Return the text of a setting: items of a list are joined by commas, as Spark does."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def short_form(key: str) -> BeforeValidator:
    """Return the validator of a list whose items may be only the text of their field `key`."""

    def expand(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [{key: item} if isinstance(item, str) else item for item in value]

    return BeforeValidator(expand)


def _in_catalog(find: Callable[[str], object]) -> AfterValidator:
    """Return the validator of texts for which `find` raises no `SpecError`."""

    def check(value: str) -> str:
        try:
            find(value)
        except SpecError as error:
            raise ValueError(f"{error}. {error.hint}") from error
        return value

    return AfterValidator(check)


def rule(fault: Callable[[str], str]) -> AfterValidator:
    """Return the validator of texts for which `fault` returns an empty text."""

    def check(value: str) -> str:
        reason = fault(value)
        if reason:
            raise ValueError(reason)
        return value

    return AfterValidator(check)


def fault_at(path: tuple[str | int, ...], reason: str) -> ValidationError:
    """Return an error at a path inside of the value that is validated."""
    kind = PydanticCustomError("value_error", "{reason}", {"reason": reason})
    fault = InitErrorDetails(type=kind, loc=path, input=None)
    return ValidationError.from_exception_data("value", [fault])


def distinct(key: str) -> AfterValidator:
    """Return the validator of a list whose items differ in their field `key`."""

    def check(items: Any) -> Any:
        again = rules.repeated(getattr(item, key) for item in items)
        if again:
            raise fault_at((again[0],), f"{again[1]} is given twice")
        return items

    return AfterValidator(check)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
Memory = Annotated[str, _in_catalog(memory_mb)]
Heap = Annotated[str, _in_catalog(heap_mb)]
SparkVersion = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
Count = Annotated[int, Field(ge=1)]
Usd = Annotated[float, Field(gt=0)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Properties = Annotated[dict[str, str], BeforeValidator(_text_values)]
split_text = BeforeValidator(_split)
Listed = Annotated[tuple[str, ...], split_text]
Coordinates = Annotated[str, Field(pattern=r"^[\w.-]+:[\w.-]+:[\w.+-]+$")]
InstanceTypeName = Annotated[str, _in_catalog(instance_types.emr_type)]
Ec2TypeName = Annotated[str, _in_catalog(instance_types.instance_type)]
BucketName = Annotated[str, rule(rules.bucket_fault)]
TagKey = Annotated[str, rule(rules.tag_key_fault)]
TagValue = Annotated[str, rule(rules.tag_value_fault)]
Tags = Annotated[dict[TagKey, TagValue], BeforeValidator(_text_values)]


@dataclass(frozen=True)
class NodePython:
    """The Python of Spark on a cluster's nodes: its command, version and platform of its wheels.

    `version` is like 3.9, `platform` like manylinux_2_34, without the architecture.
    """

    command: str
    version: str
    platform: str

    def replaced(self, command: str | None) -> NodePython:
        """Return the Python of another command; the version is part of a name like python3.11."""
        match = re.search(r"python(\d+\.\d+)$", command or "")
        version = match[1] if match else self.version
        return replace(self, command=command or self.command, version=version)


class Spec(BaseModel):
    """A frozen part of `emrctl.yaml` that rejects unknown keys."""

    # Building every validator at import takes a fifth of the time of a small command.
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _convert_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: None if isinstance(item, Null) else item for key, item in value.items()}
