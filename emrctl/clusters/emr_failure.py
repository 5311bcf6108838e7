"""Why an EMR cluster terminated with errors: the cause in one sentence, and what to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.aws import error_codes, instance_types

_SUGGESTIONS = 3
_NO_CAPACITY = ("CAPACITY", "NOT_SUPPORTED", "out of capacity", "not supported")
_REQUESTED = {"", "USER_REQUEST", "ALL_STEPS_COMPLETED"}


@dataclass(frozen=True, kw_only=True)
class ClusterFailure:
    """EMR's code and message, what they mean (empty if unknown) and what to do."""

    code: str
    message: str
    cause: str
    hint: str

    def __str__(self) -> str:
        """Return the cause and EMR's message in one line."""
        answer = ": ".join(part for part in (self.code, self.message) if part)
        return f"{self.cause} ({answer})" if self.cause and answer else self.cause or answer


def find_failure(status: Mapping[str, Any]) -> ClusterFailure | None:
    """Return the failure in `Status` of DescribeCluster; None if running or ended on request."""
    reason = status.get("StateChangeReason", {})
    code, message = str(reason.get("Code", "")), str(reason.get("Message", ""))
    details = list(status.get("ErrorDetails", ()))
    if code in _REQUESTED and not details:
        return None
    if details:
        code = str(details[0].get("ErrorCode") or code)
        message = str(details[0].get("ErrorMessage") or message)
    known = error_codes.cluster_failure(code) or error_codes.cluster_failure(message)
    cause, hint = known or ("", "Run `emrctl up` again to create a new cluster.")
    hint = _with_alternatives(hint, code, message, details)
    return ClusterFailure(code=code, message=message, cause=cause, hint=hint)


def _with_alternatives(hint: str, code: str, message: str, details: list[dict[str, Any]]) -> str:
    """Return the hint, with alternatives to an instance type that has no capacity."""
    facts = {
        key: value
        for detail in details
        for data in detail.get("ErrorData", ())
        for key, value in data.items()
    }
    name = str(facts.get("instance-type", "")) or _type_in(message)
    no_capacity = any(word in code + message for word in _NO_CAPACITY)
    if name not in instance_types.INSTANCE_TYPES or not no_capacity:
        return hint
    zone = facts.get("availability-zone")
    where = f"{name} in {zone}" if zone else name
    return f"{hint} Alternatives to {where}: {', '.join(alternatives(name))}."


def _type_in(message: str) -> str:
    words = (word.strip(".,'\"()[]") for word in message.split())
    return next((word for word in words if word in instance_types.INSTANCE_TYPES), "")


def alternatives(name: str) -> tuple[str, ...]:
    """Return types of other families with as many cores and no less memory, cheapest first."""
    family = instance_types.instance_type(name).family
    prices = instance_types.shipped()["regions"][instance_types.PRICES_REGION]["ec2"]
    fitting = [
        item
        for item in instance_types.no_smaller(name)
        if item.family != family and item.name in prices
    ]
    fitting.sort(key=lambda item: item.ec2_usd)
    return tuple(item.name for item in fitting[:_SUGGESTIONS])
