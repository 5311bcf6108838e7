"""Event logs as the store keeps them: with the secrets in properties and texts redacted.

Spark hides properties by a pattern of its own, which knows neither `fs.azure.account.key` nor
passphrases nor URLs with a password, and writes plans and descriptions as they are.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from emrctl import redact
from emrctl.metrics.eventlog import codecs
from emrctl.metrics.eventlog.layout import EventLogFile

# Most events of a log; they have no properties, and texts of the program only if it fails.
_TASKS = re.compile(
    rb'\{"Event":"SparkListener(?:TaskStart|TaskGettingResult|BlockUpdated)"'
    rb'|\{"Event":"SparkListenerTaskEnd".{0,200}"Task End Reason":\{"Reason":"Success"'
)
_PROPERTIES = frozenset(
    {"Spark Properties", "Hadoop Properties", "System Properties", "Properties", "modifiedConfigs"}
)
_COMMAND = "sun.java.command"
_SUFFIX = re.compile(r"\.(?:lz4|lzf|snappy|gz)(?=(?:\.(?:compact|inprogress))*$)")


@contextmanager
def stored_form(file: EventLogFile) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the name and the content of a file as it is stored: unchanged if it has no secrets.

    Otherwise it is written again, with zstd if it was before, else without compression.
    """
    with file.open() as stream:
        changed = any(new is not old for old, new in _lines(codecs.decode(stream)))
    if not changed:
        with file.open() as stream:
            yield file.name, stream
        return
    with file.open() as stream, tempfile.TemporaryFile() as spool:
        decoded = codecs.DecodedStream(stream)
        _write(_lines(decoded.blocks()), cast("BinaryIO", spool), compress=decoded.codec == "zstd")
        spool.seek(0)
        yield _SUFFIX.sub("", file.name), cast("BinaryIO", spool)


def _write(lines: Iterator[tuple[bytes, bytes]], sink: BinaryIO, *, compress: bool) -> None:
    import zstandard

    if compress:
        with zstandard.ZstdCompressor().stream_writer(sink, closefd=False) as writer:
            for _, new in lines:
                writer.write(new)
    else:
        sink.writelines(new for _, new in lines)


def _lines(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield every line as it is and redacted, the same object if it has no secret."""
    redactor = redact.Redactor()
    for line in _split(blocks):
        yield line, line if _TASKS.match(line) else _redact_line(line, redactor)


def _split(blocks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    try:
        for block in blocks:
            *lines, rest = io.BytesIO(rest + block).readlines() or [b""]
            if rest.endswith(b"\n"):
                lines, rest = [*lines, rest], b""
            yield from lines
    except codecs.CutError:
        pass  # the rest of a damaged file cannot be read
    if rest:
        yield rest


def _redact_line(line: bytes, redactor: redact.Redactor) -> bytes:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # a cut line, or one that is no event
        redacted = redactor.text(line.decode("utf-8", "surrogateescape"))
        body = redacted.encode("utf-8", "surrogateescape")
        return line if body == line else body
    if isinstance(event, dict) and event.get("Event") == "SparkListenerEnvironmentUpdate":
        for section in event.values():
            if isinstance(section, dict):
                redactor.learn(section)
    redacted_event = _redact(event, redactor)
    if redacted_event == event:
        return line
    text = json.dumps(redacted_event, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _redact(item: Any, redactor: redact.Redactor) -> Any:
    if isinstance(item, str):
        return redactor.text(item)
    if isinstance(item, list):
        return [_redact(inner, redactor) for inner in item]
    if not isinstance(item, dict):
        return item
    return {
        name: _redact_properties(inner, redactor)
        if name in _PROPERTIES and isinstance(inner, dict)
        else _redact(inner, redactor)
        for name, inner in item.items()
    }


def _redact_properties(properties: dict[str, Any], redactor: redact.Redactor) -> dict[str, Any]:
    return {
        name: redact.value(name, item)
        if isinstance(item, str) and name != _COMMAND
        else _redact(item, redactor)
        for name, item in properties.items()
    }
