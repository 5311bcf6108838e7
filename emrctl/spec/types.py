"""What every part of a spec is made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from emrctl.aws import instance_types
from emrctl.errors import SpecError

_MEMORY = re.compile(r"([1-9][0-9]*)([mMgG])")


def _text(value: Any) -> Any:
    """What YAML read as a number or a truth value, as the text that EMR and Spark take."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _texts(value: Any) -> Any:
    return [_text(item) for item in value] if isinstance(value, list | tuple) else value


def _text_values(value: Any) -> Any:
    return {k: _text(item) for k, item in value.items()} if isinstance(value, dict) else value


def _emr_type(value: str) -> str:
    return _in_catalog(value, instance_types.emr_type)


def _ec2_type(value: str) -> str:
    return _in_catalog(value, instance_types.instance_type)


def _in_catalog(value: str, look: Callable[[str], object]) -> str:
    try:
        look(value)
    except SpecError as error:
        raise ValueError(f"{error}. {error.hint}") from error
    return value


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*[mMgG]$")]
Count = Annotated[int, Field(ge=1)]
Usd = Annotated[float, Field(gt=0)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Properties = Annotated[dict[str, str], BeforeValidator(_text_values)]
InstanceTypeName = Annotated[str, AfterValidator(_emr_type)]
Ec2TypeName = Annotated[str, AfterValidator(_ec2_type)]
BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]


def memory_mb(text: str) -> int:
    """Megabytes of a size as Spark writes it (`4g`, `4743M`)."""
    found = _MEMORY.fullmatch(text)
    if found is None:
        raise SpecError(f"'{text}' is no memory size", hint="Write it as 512m or 4g.")
    return int(found[1]) * (1024 if found[2] in "gG" else 1)


class Spec(BaseModel):
    """A frozen part of `emrctl.yaml` that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)
