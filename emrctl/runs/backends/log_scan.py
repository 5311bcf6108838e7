"""One pass over a log of any length, with bounded memory, for what may explain a failure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from emrctl.runs.backends.exceptions import GROUP, NESTING, TRACEBACK, last_message

_BLOCK_BYTES = 1 << 18
_MAX_LINES, _MAX_LINE = 2000, 4000
_TAIL_BYTES = 1 << 15
# Messages of log4j in the format of Spark and EMR, which Python's own logging does not use.
LOG4J = re.compile(r"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d(?:[.,]\d+)? ([A-Z]+) ")
_SYNTAX = re.compile(r'^  File ".*", line \d+$')
_IGNORED = ("Exception ignored in", "Error in atexit", "Error in sys.excepthook")
# What a logger writes before a traceback in its message.
_LOGGER = re.compile(r"^\W*(?:[A-Z]{4,8}\b|\d{4}-)(?!.*(?:Exception|Error): $)")
_THREAD = re.compile(r"^Exception in thread \"?(?:main|Driver)\b")
JAVA = re.compile(r"^(?:[a-z]\w*\.)+[A-Z][\w$]*(?:Exception|Error)\b")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Output that is written while Python exits.
_NOISE = re.compile(
    r"^\S+:\d+: \w*Warning: |^sys:1: \w*Warning|\bpy4j\.(?:clientserver|java_gateway)\b"
)
# What a log states about exit codes, memory and containers: a word that such a line contains, and
# the line's form. None of them matches the command line of a container, such as its option
# -XX:OnOutOfMemoryError='kill %p'.
_FACTS: dict[str, tuple[bytes, re.Pattern[bytes]]] = {
    "heap": (
        b"java.lang.OutOfMemoryError",
        re.compile(rb"(?m)^(?:[^\n]*[ :])?(java\.lang\.OutOfMemoryError[^\n]*)"),
    ),
    "disk": (
        b"No space left on device",
        re.compile(rb"(?m)^(?:[^\n]*?: )??([^\n]*No space left on device[^\n]*)"),
    ),
    "ended": (
        b"ended with exit code",
        re.compile(rb"waitProcessCompletion ended with exit code (-?\d+)"),
    ),
    "program": (
        b"User application exited with status",
        re.compile(rb"User application exited with status (-?\d+)"),
    ),
    "master": (
        b"Final app status: FAILED",
        re.compile(rb"Final app status: FAILED, exitCode: (-?\d+)"),
    ),
    "container": (
        b"AM Container for",
        re.compile(rb"AM Container for \S+ exited with\s+exitCode: (-?\d+)"),
    ),
    "beyond": (
        b"beyond",
        re.compile(
            rb"(?i)((?:is )?running (?:\d+B )?beyond (?:the )?'?(?:physical|virtual)'? "
            rb"memory limits?\. Current usage: [^;\n]*)"
        ),
    ),
    "killed": (b" killed by user", re.compile(rb"(Application \S+ was killed by user[^\n]*)")),
    "removed": (
        b"removed our application",
        re.compile(rb"(Master removed our application[^\n]*)"),
    ),
    "yarn_killed": (
        b"Container killed by YARN",
        re.compile(rb"(Container killed by YARN for exceeding[^\n]*)"),
    ),
    "executor": (
        b"Executor updated: app-",
        re.compile(rb"is now (?:EXITED|FAILED|KILLED) \((Command exited with code (?!0)\d+)"),
    ),
    "too_many": (
        b"Max number of executor failures",
        re.compile(rb"(Max number of executor failures \(\d+\) reached)"),
    ),
    "usage": (b"Error: ", re.compile(rb"(?m)^(Error: [^\n]+)")),
    "diagnostics": (b"diagnostics", re.compile(rb"(?i)diagnostics(?: message)?: ([^\n]{8,})")),
}


@dataclass
class LogScan:
    """What one log contains.

    `traceback` is the last one of Python, `java` the exception that ended the main thread of Java,
    `error` the last message of log4j at ERROR, or exception, with its stack trace. `facts` are the
    last values of _FACTS, `tail` is the end of the log.
    """

    traceback: list[str] = field(default_factory=list)
    java: list[str] = field(default_factory=list)
    error: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    tail: bytes = b""

    def code(self, fact: str) -> int | None:
        """Return the exit code that the log states, None if it states none."""
        return int(self.facts[fact]) if fact in self.facts else None

    @property
    def last_output(self) -> str:
        """The last message of the program's own output; empty if there is none."""
        lines = []
        for line in self.tail.decode(errors="replace").split("\n"):
            text = _ANSI.sub("", line.rstrip().rpartition("\r")[2])
            words = any(char.isalnum() for char in text)
            if words and not LOG4J.match(text) and not _NOISE.search(text):
                lines.append(text)
        fatal = next((line for line in lines if line.startswith("Fatal Python error: ")), "")
        return fatal or last_message(lines).strip("│┃| ")


def scan(stream: BinaryIO) -> LogScan:
    """Read a log to its end."""
    found, collector = LogScan(), _Collector()
    for block in blocks(stream):
        for name, (word, pattern) in _FACTS.items():
            if word in block:
                for match in pattern.finditer(block):
                    found.facts[name] = match[1].decode(errors="replace").strip()
        collector.read(block)
        found.tail = (found.tail + block)[-_TAIL_BYTES:]
    found.traceback, found.java, found.error = collector.traceback, collector.java, collector.error
    return found


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield blocks that end at the end of a line, unless a line is longer than a block."""
    rest = b""
    while chunk := stream.read(_BLOCK_BYTES):
        block = rest + chunk
        end = block.rfind(b"\n") + 1 or len(block)
        yield block[:end]
        rest = block[end:]
    if rest:
        yield rest


class _Collector:
    """Collects the lines of the last exceptions of Python and Java."""

    _STARTS = (TRACEBACK.encode(), b'  File "', b"Exception", b"Error", b" ERROR ")

    def __init__(self) -> None:
        self.traceback: list[str] = []
        self.java: list[str] = []
        self.error: list[str] = []
        self._open: list[str] | None = None
        self._previous = ""
        self._ignoring = self._in_frames = self._in_message = False

    def read(self, block: bytes) -> None:
        """Read lines; blocks without the start of an exception are skipped."""
        if self._open is None and not any(start in block for start in self._STARTS):
            return
        for line in block.decode(errors="replace").split("\n"):
            self._read_line(line.rstrip("\r")[:_MAX_LINE])

    def _read_line(self, line: str) -> None:
        indented = line.startswith((" ", "\t"))
        if self._ignoring:  # a traceback of an object's finalizer, which ends no program
            self._ignoring = indented or line.endswith(TRACEBACK)
        elif line.startswith(_IGNORED):
            self._ignoring = True
        elif not self._read_message(line, indented=indented):
            self._read_output(line, indented=indented)
        if line.strip():
            self._previous = line

    def _read_message(self, line: str, *, indented: bool) -> bool:
        """Read a line of log4j; return False if it is not part of a message.

        Messages of Java interrupt the output of Python, which they do not belong to.
        """
        match = LOG4J.match(line)
        if match:
            self._in_message = True
            own_report = "User application exited with status" in line
            if match[1] in {"ERROR", "FATAL"} and not own_report:
                self.error = [line[match.end() :]]
            return True
        part = indented or line.startswith("Caused by: ") or bool(JAVA.match(line))
        self._in_message = self._in_message and part and not line.startswith("  File ")
        if self._in_message and 0 < len(self.error) < _MAX_LINES:
            self.error.append(line)
        return self._in_message

    def _read_output(self, line: str, *, indented: bool) -> None:
        if not self._in_frames and _NOISE.search(line):
            return
        if _THREAD.match(line):
            self.java = self._open = [line]
            self._in_frames = False
        elif self._starts_traceback(line):
            self.traceback = self._open = [line]
            self._in_frames = True
        elif self._open is not None:
            self._open.append(line)
            self._open = self._open if len(self._open) < _MAX_LINES else None
            self._in_frames = line.endswith(TRACEBACK) or (self._in_frames and indented)
        elif JAVA.match(line):
            self.error = self._open = [line]

    def _starts_traceback(self, line: str) -> bool:
        """Return whether the line starts a traceback that does not belong to the one above."""
        if _SYNTAX.match(line):  # a syntax error in the main program has no header
            return not self._in_frames
        prefix = line.removesuffix(TRACEBACK)
        header = not prefix or line == f"  + {GROUP}" or bool(_LOGGER.match(prefix))
        nested = self._open is self.traceback and self._previous.endswith(NESTING)
        return line.endswith(TRACEBACK) and header and not nested and not self._in_frames
