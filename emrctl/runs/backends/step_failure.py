"""The line in a step's logs that explains its failure: the error that caused the others.

In order of preference: the exception of the driver's Python traceback, a usage error, YARN's
message on a killed container, Java's innermost cause.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from emrctl.runs.backends.base import LogFile

_MAX_LENGTH = 400
_PYTHON_ERROR = re.compile(r"^(?:[A-Za-z_][\w.]*)(?:Error|Exception|Interrupt|Exit|Warning)\b.*")
_JAVA_WRAPPERS = ("Py4JJavaError", "py4j.protocol")
_YARN = re.compile(
    r".*(?:Container killed|killed by YARN|Container .* exited|ExecutorLostFailure|"
    r"is above the max threshold|OutOfMemoryError|No space left).*"
)
_CAUSE = re.compile(r"^\s*Caused by: (.*)")
_EXCEPTION = re.compile(r"(?:^|\s)((?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error)\b.*)")
_USAGE = re.compile(r"^\S+(?:\.py)?: error: .*")


@dataclass(frozen=True)
class Explanation:
    """A line and the URI of its log."""

    line: str
    log: str


def explain(logs: Sequence[LogFile]) -> Explanation | None:
    """Return the line that explains the failure best, None if there is none."""
    ordered = sorted(logs, key=_rank)
    for finder in (_python, _usage, _yarn, _cause, _exception):
        for log in ordered:
            line = finder(log.text.decode(errors="replace").splitlines())
            if line:
                return Explanation(line.strip()[:_MAX_LENGTH], log.uri)
    return None


def _rank(log: LogFile) -> tuple[int, str]:
    """Rank the step's own output first, then the driver's container, then the others."""
    if log.name.startswith("step/"):
        return (1 if log.name.endswith("controller") else 0, log.name)
    return (2 if "_000001/" in log.name else 3, log.name)


def _python(lines: list[str]) -> str | None:
    """Return the last line of the first traceback that is not Py4J's wrapper of another one."""
    inside = False
    error = None
    for line in lines:
        text = line.strip()
        if "Traceback (most recent call last)" in text:
            inside = True
        elif inside and _PYTHON_ERROR.match(text) and not line.startswith((" ", "\t")):
            error = text
            inside = False
            if not any(wrapper in text for wrapper in _JAVA_WRAPPERS):
                return error
    return error if error and not any(w in error for w in _JAVA_WRAPPERS) else None


def _usage(lines: list[str]) -> str | None:
    return next((line for line in reversed(lines) if _USAGE.match(line)), None)


def _yarn(lines: list[str]) -> str | None:
    return next((line for line in lines if _YARN.match(line)), None)


def _cause(lines: list[str]) -> str | None:
    causes = [match[1] for line in lines if (match := _CAUSE.match(line))]
    return causes[-1] if causes else None


def _exception(lines: list[str]) -> str | None:
    exceptions = (match[1] for line in lines if (match := _EXCEPTION.search(line)))
    return next(exceptions, None)
