"""Secrets among Spark's properties, made unreadable before anything is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping

REDACTED = "*********(redacted)"

# Spark's own spark.redaction.regex, and what it lets through.
_SENSITIVE = re.compile(
    r"secret|passw(?:or)?d|passphrase|token|credential|access[.]?key|api[._-]?key|private[._-]?key",
    re.IGNORECASE,
)
_SENSITIVE_VALUE = re.compile(
    r"(?:secret|passw(?:or)?d|passphrase|token|access[._]?key|api[._-]?key)[\w.\-]*\s*[=:]"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|://[^/\s:@]+:[^/\s@]+@",
    re.IGNORECASE,
)


def redacted(properties: Mapping[str, str]) -> dict[str, str]:
    """`properties` with the value of each that looks like a secret replaced, sorted by key."""
    return {key: redacted_value(key, properties[key]) for key in sorted(properties)}


def redacted_value(key: str, value: str) -> str:
    """`value`, or Spark's own mark where key or value look like a secret."""
    hidden = _SENSITIVE.search(key) or _SENSITIVE_VALUE.search(value)
    return REDACTED if hidden else value
