"""Requests of every EMR operation, generated from botocore's model."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from botocore.session import get_session

from emrctl.emulator.api import dispatch
from emrctl.emulator.api.service import Service

MODEL = get_session().get_service_model("emr")
# A value for members whose text EMR checks further, so that requests get past these checks.
KNOWN = {
    "InstanceType": "m5.xlarge",
    "InstanceCount": 1,
    "ReleaseLabel": "emr-7.5.0",
    "LogUri": "s3://pets-logs/",
    "Path": "s3://pets-logs/boot.sh",
    "SecurityConfiguration": "{}",
    "BidPrice": "0.1",
}
_ARN = "arn:aws:iam::123456789012:role/pets"


def send(service: Service, name: str, body: object) -> tuple[int, dict[str, Any]]:
    """Return status and response of an operation."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, answer = dispatch.respond(service, name, "us-east-1", text)
    return status, json.loads(answer)


def minimal(shape: Any, name: str = "", known: dict[str, Any] | None = None) -> Any:
    """Return a value of the shape with its required members only."""
    known = KNOWN if known is None else known
    if name in known:
        return known[name]
    if shape.type_name == "structure":
        return {one: minimal(shape.members[one], one, known) for one in shape.required_members}
    if shape.type_name == "list":
        return [minimal(shape.member, name, known)]
    if shape.type_name == "string":
        return _text(shape)
    return {"map": {}, "boolean": True}.get(shape.type_name, shape.metadata.get("min", 1))


def _text(shape: Any) -> str:
    if shape.enum:
        return str(shape.enum[0])
    return _ARN if shape.metadata.get("min", 0) > len("pets") else "pets"


def wrong_type(shape: Any) -> Any:
    """Return a value of another type than the shape's."""
    return {"string": 5, "boolean": "yes", "structure": [1], "list": {"a": 1}, "map": [1]}.get(
        shape.type_name, "many"
    )


def out_of_range(shape: Any) -> Iterator[Any]:
    """Yield values that the model's enum, length, range or pattern excludes."""
    limits = shape.metadata
    if shape.type_name == "string":
        if shape.enum:
            yield "NO_SUCH_VALUE"
        if "max" in limits:
            yield "x" * (limits["max"] + 1)
        if limits.get("min"):
            yield ""
        if "pattern" in limits:
            yield "a\0b"
    elif shape.type_name not in ("structure", "list", "map", "boolean"):
        for name, step in (("min", -1), ("max", 1)):
            if name in limits:
                yield limits[name] + step


def mutations(shape: Any, base: dict[str, Any], depth: int = 0) -> Iterator[tuple[Any, set[str]]]:
    """Yield each change of one member of a structure, with the error codes that it may cause."""
    for name in shape.required_members:
        yield {key: value for key, value in base.items() if key != name}, {"ValidationException"}
    for name, member in shape.members.items():
        yield base | {name: wrong_type(member)}, {"SerializationException"}
        for value in out_of_range(member):
            yield base | {name: value}, {"ValidationException"}
        if depth == 6:
            continue
        nested = member.member if member.type_name == "list" else member
        if nested.type_name == "structure":
            for value, codes in mutations(nested, minimal(nested), depth + 1):
                yield base | {name: [value] if nested is not member else value}, codes
        elif nested is not member:
            values = [(wrong_type(nested), {"SerializationException"})]
            values += [(one, {"ValidationException"}) for one in out_of_range(nested)]
            for value, codes in values:
                yield base | {name: [value]}, codes


def random_value(shape: Any, name: str, choose: random.Random, known: dict[str, Any]) -> Any:
    """Return a random value, mostly of the shape's type."""
    if name in known and choose.random() < 0.7:
        return known[name]
    if choose.random() < 0.02:
        return choose.choice([None, 5, -1, 1e300, "x", [], {}, True, "\ud800", [[]], {"a": {}}])
    makers = {"structure": _random_structure, "list": _random_list, "map": _random_map}
    if shape.type_name in makers:
        return makers[shape.type_name](shape, name, choose, known)
    if shape.type_name == "boolean":
        return choose.random() < 0.5
    if shape.type_name == "string":
        values = [*(shape.enum or ()), "pets", "", "é😀", "s3://pets-logs/a", "x" * 300, "-1", "*"]
        return choose.choice(values)
    return choose.choice([0, 1, 2, 3, 60, -1, 257, 2**31 - 1, 2**40, 0.5])


def _random_structure(shape: Any, _: str, choose: random.Random, known: dict[str, Any]) -> Any:
    return {
        name: random_value(member, name, choose, known)
        for name, member in shape.members.items()
        if choose.random() < (0.97 if name in shape.required_members else 0.3)
    }


def _random_list(shape: Any, name: str, choose: random.Random, known: dict[str, Any]) -> Any:
    items = range(choose.choice([0, 1, 1, 2, 3]))
    return [random_value(shape.member, name, choose, known) for _ in items]


def _random_map(shape: Any, name: str, choose: random.Random, known: dict[str, Any]) -> Any:
    return {"a": random_value(shape.value, name, choose, known)}
