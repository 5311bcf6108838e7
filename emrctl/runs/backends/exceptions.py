"""Parsing of Python tracebacks and Java stack traces: the exception that caused the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

TRACEBACK = "Traceback (most recent call last):"
GROUP = "Exception Group " + TRACEBACK
_MAX_TEXT = 320
_DIRECT = "The above exception was the direct cause of the following exception:"
_CHAINED = (_DIRECT, "During handling of the above exception, another exception occurred:")
# A traceback below a line with one of these endings belongs to the exception above it.
NESTING = (*_CHAINED, "Please see the stack trace below.", '"""')
_JAVA_FRAME = re.compile(r"^\s+(?:at \S+\(|\.\.\. \d+ (?:more|common frames))")
_JAVA_START = re.compile(r"^\s*(?:: |Caused by: |Exception in thread (?:\"[^\"]*\"|\S+) )")
_SPARK_CLASS = re.compile(r"^(?:py4j|pyspark)\.")
_STAGE_FAILURE = re.compile(
    r"^.*?\bLost task [\d.]+ in stage [\d.]+ \(TID \d+\) \([^)]*\): (?=\S)", re.DOTALL
)
# Causes that only report that something else failed.
_SYMPTOM = re.compile(
    r"^java\.(?:io\.EOFException|net\.SocketException|lang\.InterruptedException"
    r"|net\.SocketTimeoutException|nio\.channels\.ClosedByInterruptException)\b"
    r"|: (?:Connection reset|Broken pipe|Futures timed out)"
)
_LOCATION = re.compile(r"\b(?:s3[an]?|hdfs|file)://?\S|(?:^|[\s'])/\S+/\S")
# Lines that continue the message of an exception of Spark.
_CONTINUATION = re.compile(
    r"^(?:\s|Caused by:|: |;|'|\+-|:-? |==|--|\^|Driver stacktrace|JVM stacktrace)"
)
# Spark's, e.g. [TABLE_OR_VIEW_NOT_FOUND], at the start of a message.
_ERROR_CLASS = re.compile(r"\[[A-Z][A-Z0-9_]{4,}(?:\.[A-Z0-9_]+)*\] ")
_MESSAGE_LINES = 6
_FIRST_IN_GROUP = re.compile(r"^[\s|+-]*- 1 -+$")
_GROUP_MARGIN = re.compile(r"^\s*[|+] ?(?!-)")


@dataclass(frozen=True)
class Traceback:
    """A parsed traceback.

    `text` is the last exception with its cause. `top_level` is whether it left the main program;
    `rest` are the lines that follow: more of its message, or further output of the program.
    """

    text: str
    top_level: bool
    rest: tuple[str, ...]


def parse_python(lines: Sequence[str]) -> Traceback | None:
    """Parse the first traceback and those chained to it; None if it has no exception."""
    if any(line.endswith(GROUP) for line in lines):
        lines = _flatten_group(lines)
    links: list[tuple[str, str]] = []
    relation, top_level, rest = "", False, tuple(lines)
    while (start := _frames_end(rest)) is not None:
        header = next((n for n, line in enumerate(rest) if line.endswith(TRACEBACK)), -1)
        top_level = _is_top_level(rest[header + 1])
        text, rest = _split_exception(rest[start:])
        links.append((relation, text))
        following = next((n for n, line in enumerate(rest) if line.strip()), 0)
        relation = rest[following].strip() if rest else ""
        if relation not in _CHAINED:
            break
        rest = rest[following + 1 :]
    kept = tuple(line for line in rest if line.strip())
    return Traceback(_describe_chain(links), top_level, kept) if links else None


def _frames_end(lines: Sequence[str]) -> int | None:
    """Return the index of the exception below the first stack, None if there is none."""
    inside = False
    for number, line in enumerate(lines):
        if line.endswith(TRACEBACK) or (number == 0 and line.startswith("  File ")):
            inside = True
        elif inside and line.strip() and not line.startswith((" ", "\t")):
            return number
    return None


def _is_top_level(frame: str) -> bool:
    """Return whether a first frame is the main program's, or the place of a syntax error."""
    return ", in " not in frame or frame.endswith(", in <module>") or "<frozen " in frame


def _split_exception(lines: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the text of the exception in the first line, and the lines below its message."""
    first, below = lines[0].rstrip(), lines[1:]
    if first.startswith("py4j."):
        frames = [number for number, line in enumerate(below) if _JAVA_FRAME.match(line)]
        is_java = bool(below) and below[0].startswith(": ")
        end = frames[-1] + 1 if frames else len(below) * is_java
        return java_cause(below[:end]) or _join(first, below), _output(below[end:])
    if _SPARK_CLASS.match(first):
        nested = next((n for n, line in enumerate((first, *below)) if TRACEBACK in line), None)
        inner = parse_python((first, *below)[nested:]) if nested is not None else None
        return (inner.text, inner.rest) if inner else (_join(first, below), _output(below))
    chained = next((n for n, line in enumerate(below) if line.strip() in _CHAINED), None)
    return _join(first, below), below[chained or 0 :]


def _join(first: str, below: Sequence[str]) -> str:
    """Return the first line of a message, with the next one if it is empty."""
    if not first.endswith(":"):
        return first
    return f"{first} {next((line.strip() for line in below if line.strip()), '')}".rstrip()


def _output(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the lines without those that continue a message of Spark."""
    return tuple(line for line in lines if line.strip() and not _CONTINUATION.match(line))


def _describe_chain(links: Sequence[tuple[str, str]]) -> str:
    """Return the last exception and the one that caused it, or that was being handled."""
    last = clip(links[-1][1])
    number = len(links) - 1
    while number > 0 and links[number][0] == _DIRECT:
        number -= 1
    cause, words = links[number][1], "caused by"
    if number == len(links) - 1 and number > 0:
        cause, words = links[number - 1][1], "raised while handling"
    message = cause.partition(": ")[2] or cause
    return last if message in last else f"{last}, {words} {clip(cause)}"


def _flatten_group(lines: Sequence[str]) -> list[str]:
    """Return an exception group as an exception that its first one caused."""
    first = next((n for n, line in enumerate(lines) if _FIRST_IN_GROUP.match(line)), None)
    flat = [
        TRACEBACK if line.endswith(TRACEBACK) else _GROUP_MARGIN.sub("", line) for line in lines
    ]
    if first is None:
        return flat
    inner = [_GROUP_MARGIN.sub("", line) for line in lines[first + 1 :]]
    inner = inner if inner and inner[0].endswith(TRACEBACK) else [TRACEBACK, "  File", *inner]
    end = next((n for n, line in enumerate(inner) if line.lstrip().startswith("+-")), None)
    return [*inner[:end], "", _DIRECT, "", *flat[:first]]


def last_message(lines: Sequence[str]) -> str:
    """Return the last message of a program's output: its first line, or its deepest Java cause.

    A program that prints an exception of Spark also prints its query plan or stack trace.
    """
    number = len(lines) - 1
    while number > 0 and (not lines[number].strip() or _CONTINUATION.match(lines[number])):
        number -= 1
    if number < len(lines) - 1:  # the message of an error class has several lines
        above = range(number, max(number - _MESSAGE_LINES, -1), -1)
        number = next((n for n in above if _ERROR_CLASS.search(lines[n])), number)
    message = lines[max(number, 0) :]
    start = next((n for n, line in enumerate(message) if _JAVA_START.match(line)), None)
    if start is None:
        whole = message if message and message[0].endswith(":") else message[:1]
        return " ".join(" ".join(whole).split())
    if message[start].startswith("Caused by: ") or any(map(_JAVA_FRAME.match, message)):
        return java_cause(message[start:])
    return message[0].strip()


def java_cause(lines: Sequence[str]) -> str:
    """Return the deepest relevant exception of a Java stack trace; empty if there is none.

    A Python exception in a message is that of a failed task.
    """
    links = _java_links(lines)
    for link in reversed(links):
        start = next((n for n, line in enumerate(link) if TRACEBACK in line), None)
        inner = parse_python(link[start:]) if start is not None else None
        if inner:
            return inner.text
    texts = [link[0].rstrip() for link in links]
    return clip(_STAGE_FAILURE.sub("", _most_relevant(texts))) if texts else ""


def _java_links(lines: Sequence[str]) -> list[list[str]]:
    """Return the messages of an exception and its causes, without stack frames."""
    links: list[list[str]] = []
    in_message = False
    for line in lines:
        if not links or _JAVA_START.match(line):
            links.append([_JAVA_START.sub("", line)])
            in_message = True
        elif _JAVA_FRAME.match(line) or line.startswith("Driver stacktrace:"):
            in_message = False
        elif in_message:
            links[-1].append(line)
    return links


def _most_relevant(texts: Sequence[str]) -> str:
    """Return the deepest cause that is no symptom, or one above it that adds what it is about."""
    number = next((n for n in reversed(range(len(texts))) if not _SYMPTOM.search(texts[n])), 0)
    chosen = texts[number]
    name, _, message = chosen.partition(": ")
    for outer in reversed(texts[:number]):
        if _STAGE_FAILURE.match(outer):
            break
        names_file = _LOCATION.search(outer) and not _LOCATION.search(chosen)
        repeats = name.rsplit(".", 1)[-1] in outer or (message and message[:40] in outer)
        if (names_file and repeats) or (
            len(message) > 1 and message in outer and chosen not in outer
        ):
            return outer
    return chosen


def clip(text: str) -> str:
    """Return at most the first 320 characters."""
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
