"""Property values between Python and the engine's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What Pulumi's SDK sends for an output that is not known yet.
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Properties = dict[str, Any]


def plain(struct: Any) -> Properties:
    """A protobuf struct as Python's own types; whole numbers as int, which boto3 insists on."""
    from google.protobuf import json_format  # type: ignore[import-untyped]

    found: Properties = _whole(json_format.MessageToDict(struct))
    return found


def packed(properties: Mapping[str, Any]) -> Any:
    """A protobuf struct that holds `properties`."""
    from google.protobuf import struct_pb2

    struct = struct_pb2.Struct()
    struct.update(properties)
    return struct


def has_unknown(value: Any) -> bool:
    """Whether `value` is or holds something that is not known yet."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
