"""Secrets in properties, names and paths, made unreadable before anything is kept or shown."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from emrctl.metrics.model import ExecutorMetrics, RunMetrics, SqlMetrics, StageMetrics

T = TypeVar("T")
# Fields that hold text of the application's; others hold words of Spark's or of ours.
TEXTS: dict[type, tuple[str, ...]] = {
    RunMetrics: ("app_id", "app_attempt", "app_name", "spark_version"),
    StageMetrics: ("name", "failure_reason"),
    ExecutorMetrics: ("id", "host", "remove_reason"),
    SqlMetrics: ("description",),
}
REDACTED = "*********(redacted)"

_WORDS = (
    r"secret|passw(?:or)?d|passphrase|passcode|token|credentials?|access[._-]?key(?:[._-]?id)?"
    r"|api[._-]?key|account[._-]?key|private[._-]?key|signature|\bpwd|\bsas|\bsig"
)
# Spark's own spark.redaction.regex, and what it lets through.
_SENSITIVE = re.compile(
    r"secret|passw(?:or)?d|passphrase|passcode|token|credential|access[._-]?key|api[._-]?key"
    r"|account[._-]?key|private[._-]?key|\bpwd\b",
    re.IGNORECASE,
)
# A word for a secret, what joins it to its value, and the value, which alone is hidden: neither
# `Tokenizer: x`, nor the line of a file, as in `Token.scala:23`.
_ASSIGNED = re.compile(
    rf"((?i:{_WORDS})s?(?:[A-Z]\w*|[._\-][\w.\-]*)?[\"']?"
    r"(?:\s*(?:=>?|:(?!//|\d{1,6}\b))\s*|\s+(?=[\"']?\S*[\d!#$%+/=]))[\"']?)"
    r"([^\s\"'&;,)}\]]+)"
)
_USER = re.compile(r"(://)[^/\s@\"']+@")
_BEARER = re.compile(r"\b((?:Bearer|Basic)\s+)[\w.~+/\-]{8,}=*", re.IGNORECASE)
_SHAPES = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\bgh[pousr]_\w{20,}|\bglpat-[\w\-]{16,}|\bxox[abprs]-[\w\-]{10,}|\bdapi[0-9a-f]{32}"
    r"|\beyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*"  # a JSON web token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL,
)
_SHORTEST = 6


def redacted(properties: Mapping[str, str]) -> dict[str, str]:
    """`properties` with the value of each that looks like a secret replaced, sorted by key."""
    return {text(key): redacted_value(key, properties[key]) for key in sorted(properties)}


def redacted_value(key: str, value: str) -> str:
    """`value`, or Spark's own mark where key or value look like a secret."""
    return REDACTED if _SENSITIVE.search(key) or text(value) != value else value


@functools.lru_cache(maxsize=4096)
def text(value: str) -> str:
    """`value`, whatever sort of text, with the secrets in it replaced and the rest as it was."""
    found = _USER.sub(rf"\1{REDACTED}@", value)
    found = _ASSIGNED.sub(rf"\1{REDACTED}", found)
    return _SHAPES.sub(REDACTED, _BEARER.sub(rf"\1{REDACTED}", found))


class Secrets:
    """Values of properties that were secrets: hidden wherever else they stand."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._seen: dict[str, str] = {}

    def learn(self, properties: Mapping[Any, Any]) -> None:
        """Remember the values of the properties whose names say that they are secrets."""
        for key, value in properties.items():
            # Short ones, flags and numbers stand in many places that have nothing to do with it.
            if (
                isinstance(value, str)
                and len(value) >= _SHORTEST
                and not value.isdecimal()
                and value != REDACTED
                and _SENSITIVE.search(str(key))
                and not re.fullmatch(r"[\w$]+(?:\.[\w$]+){2,}", value)  # a class
            ):
                self._values.add(value)
                self._seen.clear()

    def hidden(self, value: str) -> str:
        """`value` without secrets, those that were learned and those that look like one."""
        found = self._seen.get(value)
        if found is None:
            found = value
            for secret in self._values:
                found = found.replace(secret, REDACTED)
            found = self._seen[value] = text(found)
        return found

    def hidden_in(self, run: RunMetrics) -> RunMetrics:
        """`run` with every text in it hidden."""
        return dataclasses.replace(
            self._hidden_record(run),
            notes=tuple(self.hidden(note) for note in run.notes),
            environment={self.hidden(k): self.hidden(v) for k, v in run.environment.items()},
            stages=tuple(self._hidden_record(stage) for stage in run.stages),
            executors=tuple(self._hidden_record(row) for row in run.executors),
            sql=tuple(self._hidden_record(query) for query in run.sql),
        )

    def _hidden_record(self, record: T) -> T:
        changed = {}
        for name in TEXTS[type(record)]:
            value = getattr(record, name)
            if isinstance(value, str) and (hidden := self.hidden(value)) != value:
                changed[name] = hidden
        if not changed:
            return record
        return cast("T", dataclasses.replace(cast("Any", record), **changed))
