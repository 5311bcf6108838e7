"""EMR's logs on S3: the keys it uses, the words of its controller, the cause of a failure."""

from __future__ import annotations

import datetime as dt
import re
import shlex
import time
from dataclasses import dataclass

from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedStep
from emrctl.emulator.cluster.runtime import StepResult
from emrctl.emulator.server import s3

_EXCERPT = 2000
_TRACE = b"Traceback (most recent call last)"


@dataclass(frozen=True, kw_only=True)
class StepLogs:
    """How a step's program ended and what it printed."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    controller: bytes = b""


def put(cluster: EmulatedCluster, name: str, content: bytes) -> bool:
    """The log lies under the cluster's log URI; False where it has none."""
    root = cluster.log_uri
    return root is not None and s3.put_log(root + name, content)


def step(cluster: EmulatedCluster, one: EmulatedStep, texts: StepLogs) -> StepResult:
    """The step's three logs lie on S3; what EMR makes of its end."""
    controller = texts.controller + _conclusion(one, texts.exit_code).encode()
    folder = f"steps/{one.id}"
    put(cluster, f"{folder}/controller", controller)
    put(cluster, f"{folder}/stdout", texts.stdout)
    kept = put(cluster, f"{folder}/stderr", texts.stderr)
    if texts.exit_code == 0:
        return StepResult(exit_code=0)
    # In client mode, spark-submit sends all that Python prints to its standard output.
    text = texts.stderr if _TRACE in texts.stderr or _TRACE not in texts.stdout else texts.stdout
    message = explain(text.decode(errors="replace"))
    return StepResult(
        exit_code=texts.exit_code,
        reason=_reason(message),
        message=message,
        log_file=f"{cluster.log_uri}{folder}/stderr.gz" if kept else "",
    )


def controller_head(one: EmulatedStep, argv: list[str], folder: str) -> bytes:
    """What the controller logs when it starts a step."""
    lines = [
        f"INFO Ensure step {one.id} jar file {one.jar['Jar']}",
        f"INFO StepRunner: Created Runner for step {one.id}",
        f"INFO startExec '{shlex.join(argv)}'",
        f"INFO redirectOutput to {folder}/stdout",
        f"INFO redirectError to {folder}/stderr",
        f"INFO Working dir {folder}",
        "INFO This step runs on the local EMR: its timings are not EMR's",
    ]
    return "".join(f"{stamp()} {line}\n" for line in lines).encode()


def _conclusion(one: EmulatedStep, exit_code: int) -> str:
    seconds = int(time.time() - (one.times.ready or time.time()))
    verb = "succeeded" if exit_code == 0 else "failed"
    lines = [
        f"INFO waitProcessCompletion ended with exit code {exit_code} : {one.jar['Jar']}",
        f"INFO total process run time: {seconds} seconds",
        f"INFO Step {verb} with exitCode {exit_code} and took {seconds} seconds",
    ]
    return "".join(f"{stamp()} {line}\n" for line in lines)


def stamp() -> str:
    """The time as EMR's controller writes it."""
    now = dt.datetime.now(dt.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


def explain(stderr: str) -> str:
    """The lines that say what went wrong: a Python traceback's, else the last exception's."""
    trace = stderr.rfind(_TRACE.decode())
    if trace >= 0:
        return _traceback(stderr[trace:])
    causes = re.findall(r"^.*(?:Exception|Error)\b.*$", stderr, flags=re.MULTILINE)
    text = causes[-1] if causes else "\n".join(stderr.strip().splitlines()[-5:])
    return str(text).strip()[-_EXCERPT:]


def _traceback(text: str) -> str:
    lines = text.splitlines()
    for number, line in enumerate(lines[1:], start=1):
        if line and not line.startswith(" "):
            # Py4J puts what Java said on the next line, after a colon.
            java = number + 1 < len(lines) and lines[number + 1].startswith(": ")
            return "\n".join(lines[: number + 1 + java])[-_EXCERPT:]
    return text[:_EXCERPT]


def _reason(message: str) -> str:
    if "FileAlreadyExistsException" in message:
        return "Output directory already exists."
    return "Unknown Error."
