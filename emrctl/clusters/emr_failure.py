"""Why an EMR cluster gave up: its cause in a sentence, and what to change.

EMR's machine-readable codes decide, its messages only where it gives no code. What its details
name is named: the instance type, the zone, and what might stand in for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.aws import error_codes, instance_types

_SUGGESTED = 3
_NO_ROOM = ("CAPACITY", "NOT_SUPPORTED", "out of capacity", "not supported")


@dataclass(frozen=True, kw_only=True)
class Death:
    """What EMR said (`code`, `message`), what it means and what to do about it.

    `cause` is empty where no table knows; `hint` never is.
    """

    code: str
    message: str
    cause: str
    hint: str

    def __str__(self) -> str:
        """One line: the cause, and EMR's own words."""
        said = ": ".join(part for part in (self.code, self.message) if part)
        return f"{self.cause} ({said})" if self.cause and said else self.cause or said


def of_cluster(status: Mapping[str, Any]) -> Death | None:
    """What `Status` of DescribeCluster says of an end that nobody asked for; None where it was.

    A cluster that works has no code, and one that was told to end has USER_REQUEST.
    """
    reason = status.get("StateChangeReason", {})
    code, message = str(reason.get("Code", "")), str(reason.get("Message", ""))
    details = list(status.get("ErrorDetails", ()))
    if code in {"", "USER_REQUEST", "ALL_STEPS_COMPLETED"} and not details:
        return None
    if details:
        code = str(details[0].get("ErrorCode") or code)
        message = str(details[0].get("ErrorMessage") or message)
    found = error_codes.cluster_failure(code) or error_codes.cluster_failure(message)
    cause, hint = found or ("", "Run `emrctl up` again: it makes a new cluster.")
    return Death(code=code, message=message, cause=cause, hint=_named(hint, code, message, details))


def _named(hint: str, code: str, message: str, details: list[dict[str, Any]]) -> str:
    """The hint, with the types that might be had in place of the one that could not."""
    facts = {
        key: value
        for item in details
        for one in item.get("ErrorData", ())
        for key, value in one.items()
    }
    name = str(facts.get("instance-type", "")) or _type_in(message)
    if name not in instance_types.INSTANCE_TYPES or not any(
        word in code + message for word in _NO_ROOM
    ):
        return hint
    zone = facts.get("availability-zone")
    where = f" in place of {name} in {zone}" if zone else f" in place of {name}"
    return f"{hint} Of the same size{where}: {', '.join(alternatives(name))}."


def _type_in(message: str) -> str:
    words = (word.strip(".,'\"()[]") for word in message.split())
    return next((word for word in words if word in instance_types.INSTANCE_TYPES), "")


def alternatives(name: str) -> tuple[str, ...]:
    """Types of other families with as many cores and no less memory, the cheapest first."""
    own = instance_types.instance_type(name)
    fitting = [
        item
        for item in instance_types.no_smaller(name)
        if item.family != own.family
        and item.name in instance_types.shipped()["regions"][instance_types.PRICES_REGION]["ec2"]
    ]
    return tuple(item.name for item in sorted(fitting, key=lambda one: one.ec2_usd)[:_SUGGESTED])
