"""Evaluate bucket policies like AWS, including conditions.

moto ignores Condition, so that the usual "Deny everything that is not TLS" denies every request.
Requests over loopback count as secure transport: other machines cannot read them, and a policy
that requires TLS would make the emulator unusable.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import ipaddress
import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Evaluation = Literal["denied", "permitted", "neutral"]
Test = Callable[[str, str], bool]


@dataclass(frozen=True, kw_only=True)
class PolicyRequest:
    """A request to evaluate; context keys are in lower case."""

    action: str
    resource: str
    account: str
    context: Mapping[str, str]


def context(headers: Mapping[str, str], account: str) -> dict[str, str]:
    """Return the condition context of a request that the emulator's user signed."""
    now = dt.datetime.now(dt.UTC)
    keys = {
        "aws:SecureTransport": "true",
        "aws:SourceIp": "127.0.0.1",
        "aws:PrincipalAccount": account,
        "aws:PrincipalArn": f"arn:aws:iam::{account}:root",
        "aws:PrincipalType": "Account",
        "aws:PrincipalIsAWSService": "false",
        "aws:ViaAWSService": "false",
        "aws:ResourceAccount": account,
        "s3:ResourceAccount": account,
        "aws:CurrentTime": now.isoformat(),
        "aws:EpochTime": str(int(now.timestamp())),
        "s3:TlsVersion": "1.3",
        "s3:signatureversion": "AWS4-HMAC-SHA256",
    }
    if headers.get("User-Agent"):
        keys["aws:UserAgent"] = headers["User-Agent"]
    for name, value in headers.items():
        if name.lower().startswith("x-amz-"):
            keys[f"s3:{name}"] = value
    return {key.lower(): value for key, value in keys.items()}


def evaluate(document: str | bytes, request: PolicyRequest) -> Evaluation:
    """Evaluate the policy; a Deny overrides every Allow."""
    statements = json.loads(document).get("Statement", [])
    effects = [one["Effect"] for one in _listed(statements) if _applies(one, request)]
    if "Deny" in effects:
        return "denied"
    return "permitted" if "Allow" in effects else "neutral"


def _applies(statement: Mapping[str, Any], request: PolicyRequest) -> bool:
    return (
        _element(statement, "Action", lambda text: _like(text.lower(), request.action.lower()))
        and _element(statement, "Resource", lambda text: _like(text, request.resource))
        and _principal(statement, request.account)
        and all(
            _condition(name, block, request.context)
            for name, block in statement.get("Condition", {}).items()
        )
    )


def _element(statement: Mapping[str, Any], name: str, matches: Callable[[str], bool]) -> bool:
    if f"Not{name}" in statement:
        return not any(matches(text) for text in _listed(statement[f"Not{name}"]))
    return any(matches(text) for text in _listed(statement.get(name, "*")))


def _principal(statement: Mapping[str, Any], account: str) -> bool:
    if "NotPrincipal" in statement:
        return not _named(statement["NotPrincipal"], account)
    return "Principal" not in statement or _named(statement["Principal"], account)


def _named(principal: Any, account: str) -> bool:
    if principal == "*":
        return True
    own = ("*", account, f"arn:aws:iam::{account}:root")
    return isinstance(principal, dict) and any(
        one in own for one in _listed(principal.get("AWS", []))
    )


def _condition(name: str, block: Mapping[str, Any], known: Mapping[str, str]) -> bool:
    """Return whether every key of one operator's block matches."""
    name = re.sub(r"^(ForAnyValue|ForAllValues):", "", name)
    base = name.removesuffix("IfExists")
    for key, wanted in block.items():
        values = [_text(value) for value in _listed(wanted)]
        actual = known.get(key.lower())
        if base == "Null":
            if (actual is None) != (values[0].lower() == "true"):
                return False
        elif actual is None:
            if base == name and not _negated(base):
                return False
        elif not _holds(base, actual, values):
            return False
    return True


def _negated(operator: str) -> bool:
    return "Not" in operator


def _holds(operator: str, actual: str, wanted: Iterable[str]) -> bool:
    test = _TESTS.get(operator.replace("Not", ""))
    # AWS rejects policies with unknown operators; here such a condition never matches.
    if test is None:
        return False
    matches = any(test(actual, one) for one in wanted)
    return not matches if _negated(operator) else matches


def _like(pattern: str, text: str) -> bool:
    # Policies have only the wildcards * and ?; fnmatch would also interpret [.
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def _in_network(actual: str, wanted: str) -> bool:
    return ipaddress.ip_address(actual) in ipaddress.ip_network(wanted, strict=False)


def _moment(text: str) -> dt.datetime:
    if text.isdigit():
        return dt.datetime.fromtimestamp(int(text), dt.UTC)
    time = dt.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _comparison(compare: Callable[[Any, Any], bool], parse: Callable[[str], Any]) -> Test:
    return lambda actual, wanted: compare(parse(actual), parse(wanted))


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
_TESTS: dict[str, Test] = {
    "StringEquals": lambda actual, wanted: actual == wanted,
    "StringEqualsIgnoreCase": lambda actual, wanted: actual.lower() == wanted.lower(),
    "StringLike": lambda actual, wanted: _like(wanted, actual),
    "ArnEquals": lambda actual, wanted: _like(wanted, actual),
    "ArnLike": lambda actual, wanted: _like(wanted, actual),
    "Bool": lambda actual, wanted: actual.lower() == wanted.lower(),
    "BinaryEquals": lambda actual, wanted: actual == wanted,
    "IpAddress": _in_network,
    **{f"Numeric{name}": _comparison(test, float) for name, test in _COMPARISONS.items()},
    **{f"Date{name}": _comparison(test, _moment) for name, test in _COMPARISONS.items()},
}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
