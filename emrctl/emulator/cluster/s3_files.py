"""Files on the emulated S3: scripts and JARs of users, and the logs of clusters at EMR's keys.

Objects are read and written without HTTP, in the server's store; without a server in moto.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import shlex
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedStep, StepResult

_MESSAGE_CHARACTERS = 2000
# Logs of any size are read in parts; the reason of a failure is in the last one.
_BLOCK_BYTES, _END_BYTES = 1 << 20, 4 << 20
_GZIP_FORMAT = 31  # as zlib calls it
_TRACEBACK = "Traceback (most recent call last)"


class DownloadError(Exception):
    """A script or JAR does not exist at its address."""

    def __init__(self, address: str) -> None:
        super().__init__(f"could not download {address}")


def download(address: str) -> bytes:
    """Return the content of an `s3://` or `file:` address; raise `DownloadError` if missing."""
    if re.match(r"s3[an]?://", address):
        content = _files.read(*_split(address))
        if content is None:
            raise DownloadError(address)
        return content
    try:
        return Path(re.sub(r"^file:(//)?", "", address)).read_bytes()
    except OSError as error:
        raise DownloadError(address) from error


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.split("://", 1)[1].partition("/")
    return bucket, key


class Files(Protocol):
    """Objects of S3, by bucket and key."""

    def read(self, bucket: str, key: str) -> bytes | None:
        """Return an object's content, or None."""

    def write(self, bucket: str, key: str, blocks: Iterable[bytes]) -> bool:
        """Write an object; return False if there is no such bucket."""


class _MotoFiles:
    """The objects of moto in this process."""

    def read(self, bucket: str, key: str) -> bytes | None:
        """Return an object's content, or None."""
        stored = _backend().get_object(bucket, key) if bucket in moto_buckets() else None
        return None if stored is None else bytes(stored.value)

    def write(self, bucket: str, key: str, blocks: Iterable[bytes]) -> bool:
        """Write an object; return False if there is no such bucket."""
        if bucket not in moto_buckets():
            return False
        _backend().put_object(bucket, key, b"".join(blocks))
        return True


def _backend() -> Any:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def moto_buckets() -> Mapping[str, Any]:
    """Return moto's buckets by name."""
    buckets: Mapping[str, Any] = _backend().buckets
    return buckets


_files: Files = _MotoFiles()


@contextlib.contextmanager
def stored_in(files: Files) -> Iterator[None]:
    """Read and write `files` instead of moto's objects."""
    global _files  # noqa: PLW0603 - there is one S3 in a process, as moto's
    before, _files = _files, files
    try:
        yield
    finally:
        _files = before


#: A log: its content, or its file.
Log = bytes | Path


def blocks(log: Log) -> Iterator[bytes]:
    """Yield the content of a log in parts; a file that does not exist has none."""
    if isinstance(log, bytes):
        yield log
        return
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def find_all(pattern: re.Pattern[bytes], log: Log) -> set[str]:
    """Return all matches in the lines of a log; of endless lines the last 1,000 bytes count."""
    matches: set[bytes] = set()
    rest = b""
    for block in blocks(log):
        lines, _, rest = (rest + block).rpartition(b"\n")
        matches.update(pattern.findall(lines))
        rest = rest[-1000:]
    matches.update(pattern.findall(rest))
    return {one.decode() for one in matches}


def _end(log: Log) -> str:
    """Return the last part of a log, which has the reason of a failure."""
    if isinstance(log, bytes):
        return log[-_END_BYTES:].decode(errors="replace")
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - _END_BYTES, 0))
            return file.read(_END_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """Exit code, output and controller log of a step."""

    exit_code: int
    stdout: Log = b""
    stderr: Log = b""
    controller: bytes = b""


def upload(cluster: EmulatedCluster, name: str, log: Log) -> bool:
    """Write a log with gzip below the LogUri; return False if there is none or no such bucket."""
    return _upload(cluster.log_uri, name, log)


def _upload(log_uri: str | None, name: str, log: Log) -> bool:
    if log_uri is None:
        return False
    bucket, key = _split(f"{log_uri}{name}.gz")
    return _files.write(bucket, key, _compressed(log))


def _compressed(log: Log) -> Iterator[bytes]:
    compressor = zlib.compressobj(6, zlib.DEFLATED, _GZIP_FORMAT)
    for block in blocks(log):
        if part := compressor.compress(block):
            yield part
    yield compressor.flush()


def upload_step(cluster: EmulatedCluster, step: EmulatedStep, output: StepOutput) -> StepResult:
    """Upload the logs of a step and return its result."""
    folder, code = f"steps/{step.id}", output.exit_code
    log_uri = cluster.step_log_uri(step)
    _upload(log_uri, f"{folder}/controller", output.controller + _controller_end(step, code))
    _upload(log_uri, f"{folder}/stdout", output.stdout)
    uploaded = _upload(log_uri, f"{folder}/stderr", output.stderr)
    if code == 0:
        return StepResult(exit_code=0)
    # In client mode, spark-submit writes the driver's stderr to its own stdout.
    stdout, stderr = _end(output.stdout), _end(output.stderr)
    has_traceback = _TRACEBACK in stdout and _TRACEBACK not in stderr
    message = failure_message(stdout if has_traceback else stderr)
    exists = "FileAlreadyExistsException" in message
    failure = {
        "Reason": "Output directory already exists." if exists else "Unknown Error.",
        "Message": message,
        "LogFile": f"{log_uri}{folder}/stderr.gz" if uploaded else "",
    }
    return StepResult(exit_code=code, failure=failure)


def controller_start(step: EmulatedStep, argv: list[str], folder: str) -> bytes:
    """Return the lines that EMR's controller logs when it starts a step."""
    return _log_lines(
        f"Ensure step {step.id} jar file {step.jar['Jar']}",
        f"StepRunner: Created Runner for step {step.id}",
        f"startExec '{shlex.join(argv)}'",
        f"redirectOutput to {folder}/stdout",
        f"redirectError to {folder}/stderr",
        f"Working dir {folder}",
        "This step runs on the local EMR: its timings are not EMR's",
    )


def _controller_end(step: EmulatedStep, exit_code: int) -> bytes:
    seconds = int(time.time() - (step.timeline.ready or time.time()))
    verb = "succeeded" if exit_code == 0 else "failed"
    return _log_lines(
        f"waitProcessCompletion ended with exit code {exit_code} : {step.jar['Jar']}",
        f"total process run time: {seconds} seconds",
        f"Step {verb} with exitCode {exit_code} and took {seconds} seconds",
    )


def _log_lines(*messages: str) -> bytes:
    return "".join(f"{timestamp()} INFO {message}\n" for message in messages).encode()


def timestamp() -> str:
    """Return the current time in the format of EMR's controller log."""
    now = dt.datetime.now(dt.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


def failure_message(text: str) -> str:
    """Return the Python traceback in a step's output, else its last exception or last lines."""
    start = text.rfind(_TRACEBACK)
    if start >= 0:
        return _traceback(text[start:])
    errors = re.findall(r"^.*(?:Exception|Error)\b.*$", text, flags=re.MULTILINE)
    message = errors[-1] if errors else "\n".join(text.strip().splitlines()[-5:])
    return str(message).strip()[-_MESSAGE_CHARACTERS:]


def _traceback(text: str) -> str:
    lines = text.splitlines()
    for number, line in enumerate(lines[1:], start=1):
        if line and not line.startswith(" "):
            # Py4J prints the Java exception on the next line, after a colon.
            java = number + 1 < len(lines) and lines[number + 1].startswith(": ")
            return "\n".join(lines[: number + 1 + java])[-_MESSAGE_CHARACTERS:]
    return text[:_MESSAGE_CHARACTERS]
