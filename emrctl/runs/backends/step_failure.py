"""The cause of a step's failure, from its logs: the error that caused the others.

Each log is read for what it is. The driver's output (the step's own in client mode, that of the
application master's last attempt in cluster mode) ends with a Python exception, or with the message
of a program that exited. spark-submit, YARN and the application master report everything else.
Where the driver only met a symptom, such as a lost executor, the logs of executors are read, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emrctl.runs.backends import exceptions, exit_codes
from emrctl.runs.backends.base import LogFile
from emrctl.runs.backends.log_scan import JAVA, LOG4J, LogScan, scan

_MAX_LENGTH = 700
_CONTAINER = re.compile(r"(?:_(\d\d))?_(\d{6})/")
# Launch scripts and folder listings of containers contain command lines, and no cause.
_READ = frozenset({"stdout", "stderr", "controller"})
_LOGGED = re.compile(
    r"^\W*(?:\d{4}-\d\d-\d\d|\d\d/\d\d/\d\d|(?:DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL)\b)"
)
_INFORMATION = re.compile(r"^[^a-z]*\b(?:DEBUG|INFO)\b")
_OF_SPARK = re.compile(r"(?:py4j|pyspark)\.")
# spark-submit of cluster mode, which repeats that the application failed.
_REPORT = re.compile(r"Application \S+ (?:finished with failed status|is killed)|UserAppException")
_DRIVER_GONE = re.compile(
    r"Py4JNetworkError|Answer from Java side is empty|Error while sending or receiving"
    r"|ConnectionRefusedError|Py4JError: An error occurred while calling [^:]*$"
)
_CONTEXT_GONE = re.compile(r"SparkContext (?:was|has been) shut ?down|stopped SparkContext")
_EXECUTOR_LOST = re.compile(
    r"ExecutorLostFailure|Remote RPC client disassociated|Python worker exited unexpectedly"
    r"|FetchFailed|Command exited with code|removed our application|Max number of executor failures"
    r"|SparkContext (?:was|has been) shut ?down"
)
_SIGNALLED = 128


@dataclass(frozen=True)
class Explanation:
    """The cause in one line, and the URI of the log that it was found in."""

    line: str
    log: str


def explain(logs: Iterable[LogFile]) -> Explanation | None:
    """Return the cause of a failed step, None if the logs contain none.

    Logs are read one after the other, those of executors only if the driver lost one.
    """
    evidence = _Evidence([log for log in logs if log.name.rpartition("/")[2] in _READ])
    for finder in (_killed_master, _exception, _launcher, _exit, _yarn):
        found = finder(evidence)
        if found:
            line, log = found
            return Explanation(" ".join(line.split())[:_MAX_LENGTH], log)
    return None


_Cause = tuple[str, str]  # the line and the URI of its log


class _Evidence:
    """The logs of a step by their origin; each is read at most once."""

    def __init__(self, logs: Sequence[LogFile]) -> None:
        self._scans: dict[str, LogScan] = {}
        self._logs = {log.name: log for log in logs}
        masters = [name for name in self._logs if _attempt(name)]
        last = max(map(_attempt, masters), default=0)
        self.master = [name for name in sorted(masters) if _attempt(name) == last]
        self.executors = [n for n in self._logs if n not in masters and "step/" not in n]

    def scan(self, name: str) -> LogScan:
        """Return what a log contains; an empty result if there is no such log."""
        if name not in self._scans:
            log = self._logs.get(name)
            self._scans[name] = LogScan() if log is None else _scan(log)
        return self._scans[name]

    def uri(self, name: str) -> str:
        return self._logs[name].uri if name in self._logs else ""

    @property
    def outputs(self) -> list[str]:
        """The logs that may contain the driver's output, the likeliest first."""
        masters = sorted(self.master, key=lambda name: not name.endswith("stdout"))
        return [*masters, "step/stdout", "step/stderr"]

    @property
    def java(self) -> list[str]:
        """The logs of the driver's Java process."""
        return self.outputs if self.in_cluster else ["step/stderr", "step/stdout"]

    @property
    def in_cluster(self) -> bool:
        """Whether the driver ran in the application master."""
        return self.fact("program", self.master) is not None or any(
            _REPORT.search(line) for line in self.scan("step/stderr").java[:1]
        )

    def fact(self, fact: str, names: Iterable[str]) -> _Cause | None:
        """Return a fact and its log, from the first log that states it."""
        for name in names:
            if fact in self.scan(name).facts:
                return self.scan(name).facts[fact], self.uri(name)
        return None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the driver's program, None if unknown."""
        if not self.in_cluster:
            return self.scan("step/controller").code("ended")
        stated = self.fact("program", self.outputs) or self.fact("master", self.master)
        return int(stated[0]) if stated else self.scan("step/stderr").code("container")


def _scan(log: LogFile) -> LogScan:
    with log.open() as stream:
        return scan(stream)


def _attempt(name: str) -> int:
    """Return the attempt of an application master's log, 0 for other logs."""
    match = _CONTAINER.search(name)
    return int(match[1] or 1) if match and int(match[2]) == 1 else 0


def _killed_master(evidence: _Evidence) -> _Cause | None:
    """Return why YARN killed the application master."""
    report = evidence.scan("step/stderr")
    code = report.code("container")
    if code is None or code >= 0:
        return None
    memory = report.facts.get("beyond", "was killed")
    return (
        f"the driver's container {memory} (exit code {code}: {exit_codes.of_driver(code)})",
        evidence.uri("step/stderr"),
    )


def _exception(evidence: _Evidence) -> _Cause | None:
    """Return the exception that the driver's output ends with."""
    for name in evidence.outputs:
        found = evidence.scan(name)
        parsed = exceptions.parse_python(found.traceback)
        if parsed and _is_final(parsed, evidence.exit_code):
            return _refine(evidence, parsed.text + _following(parsed), evidence.uri(name))
    return None


def _following(parsed: exceptions.Traceback) -> str:
    """Return the last line of output below an exception, unless it is part of its message."""
    if not parsed.rest or parsed.rest[0].startswith(" ") or _OF_SPARK.match(parsed.text):
        return ""
    last = parsed.rest[-1]
    return "" if _INFORMATION.search(last) else f"; then: {exceptions.clip(last)}"


def _is_final(parsed: exceptions.Traceback, code: int | None) -> bool:
    """Return whether the exception ended the program: it was not caught, or nothing followed."""
    if not parsed.rest:
        return code is None or code < _SIGNALLED
    if code not in {None, 1}:
        return False
    # No program exits with 1 because of what it logged at INFO.
    logged = any(_LOGGED.match(line) for line in parsed.rest)
    return bool(_INFORMATION.search(parsed.rest[-1])) or (parsed.top_level and not logged)


def _refine(evidence: _Evidence, text: str, log: str) -> _Cause:
    """Return the cause behind a symptom, or the text with the meaning of its exit code."""
    cause = None
    if _DRIVER_GONE.search(text):
        cause = _driver_heap(evidence)
        if not cause and (evidence.exit_code or 0) > _SIGNALLED:
            return _exit(evidence) or (text, log)
    if _CONTEXT_GONE.search(text):
        reports = ["step/stderr", *evidence.master]
        cause = cause or evidence.fact("killed", reports) or _driver_heap(evidence)
    if not cause and _EXECUTOR_LOST.search(text) and "killed by YARN" not in text:
        cause = _executor(evidence)
    if cause:
        return cause
    code = exit_codes.find(text)
    return (f"{text} (exit code {code}: {exit_codes.meaning(code)})" if code else text), log


def _driver_heap(evidence: _Evidence) -> _Cause | None:
    found = evidence.fact("heap", evidence.java)
    return (_heap(found[0], "driver"), found[1]) if found else None


def _heap(error: str, process: str) -> str:
    """Return an OutOfMemoryError with the setting that fixes it; one of threads has none."""
    article = "an" if process == "executor" else "the"
    advice = f"; increase spark.{process}.memory" if "thread" not in error else ""
    return f"{error} in {article} {process}{advice}"


def _executor(evidence: _Evidence) -> _Cause | None:
    """Return why executors ended, from their own logs, YARN's report or that of a master."""
    reports = ["step/stderr", *evidence.master]
    heap = evidence.fact("heap", evidence.executors)
    if heap:
        return _heap(heap[0], "executor"), heap[1]
    for fact, names in (("disk", evidence.executors), ("yarn_killed", reports)):
        found = evidence.fact(fact, names)
        if found:
            return found
    ended = evidence.fact("executor", reports)
    if not ended:
        return None
    code = exit_codes.find(ended[0]) or 1
    return f"an executor ended: exit code {code}: {exit_codes.meaning(code)}", ended[1]


def _launcher(evidence: _Evidence) -> _Cause | None:
    """Return the exception or message with which spark-submit or the application master ended."""
    for name in ("step/stderr", *evidence.master):
        found = evidence.scan(name)
        if found.java and not _REPORT.search(found.java[0]):
            return _refine(evidence, exceptions.java_cause(found.java), evidence.uri(name))
    return evidence.fact("usage", ["step/stderr"])


def _exit(evidence: _Evidence) -> _Cause | None:
    """Return the message or the exit code with which the driver's program ended."""
    code = evidence.exit_code
    if code is None and evidence.in_cluster:
        return None
    killed = evidence.fact("killed", ["step/stderr"])
    heap = _driver_heap(evidence) if code is None or code > _SIGNALLED else None
    if heap or killed:
        return killed or heap
    name, last = _last_output(evidence)
    if code is None or (last and code in {1, 2}):
        text = f"{last} (exit code {code})" if code else last
        return (text, evidence.uri(name)) if last else None
    error = next((e[0] for n in evidence.java if (e := evidence.scan(n).error)), "")
    logged = f"; last error in the log: {exceptions.clip(error)}" if error else ""
    output = (
        f"; last output: {exceptions.clip(last)}" if last else logged or "; no output is logged"
    )
    log = evidence.uri(name) or evidence.uri("step/controller")
    return f"exit code {code}: {exit_codes.of_driver(code)}{output}", log


def _last_output(evidence: _Evidence) -> _Cause:
    """Return the name of a log and the last line that the driver's program wrote to it."""
    for name in evidence.outputs:
        found = evidence.scan(name)
        lines = found.tail.decode(errors="replace").splitlines()
        own = name.endswith("stdout") or not any(map(LOG4J.match, lines))
        if own and found.last_output:
            return name, found.last_output
    return "", ""


def _yarn(evidence: _Evidence) -> _Cause | None:
    """Return what YARN or a standalone master reports of the application."""
    names = ["step/stderr", *evidence.master]
    for fact in ("killed", "too_many", "removed"):
        found = evidence.fact(fact, names)
        if found:
            return _executor(evidence) or found
    code = evidence.scan("step/stderr").code("container")
    if code is not None:
        text = f"the application master ended: exit code {code}: {exit_codes.of_driver(code)}"
        return text, evidence.uri("step/stderr")
    found = _driver_heap(evidence) or evidence.fact("diagnostics", names)
    return found or _logged_error(evidence)


def _logged_error(evidence: _Evidence) -> _Cause | None:
    """Return the last exception or error that a log of the driver contains."""
    for name in evidence.outputs:
        error = evidence.scan(name).error
        if error:
            stack = error if JAVA.match(error[0]) else error[1:]
            return _refine(evidence, exceptions.java_cause(stack) or error[0], evidence.uri(name))
    return None
