"""Events whose fields have values of other types: each is read, or counted and reported."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from emrctl.errors import NotFoundError
from emrctl.metrics import findings
from emrctl.metrics.eventlog import reader
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.predict import graph
from tests import event_logs

Path = tuple[str | int, ...]

#: A small log with SQL plans and one with block updates: together all kinds of events.
LOGS = ("missed_broadcast.ill.zstd", "cache_evicted.ill.zstd")
VALUES: tuple[Any, ...] = (None, -5, 1 << 61, 1 << 63, 1.5, "x", "\ud800", True, [[]], {"a": {}})


@cache
def lines(name: str) -> list[bytes]:
    return event_logs.text_of(event_logs.RECORDED / name).splitlines()


def log(data: bytes) -> list[EventLogFile]:
    return [EventLogFile("app-1", lambda: io.BytesIO(data))]


def first_events(name: str) -> dict[str, int]:
    """The position of the first event of each kind."""
    kinds: dict[str, int] = {}
    for at, line in enumerate(lines(name)):
        kinds.setdefault(json.loads(line)["Event"], at)
    return kinds


CASES = {kind: (name, at) for name in reversed(LOGS) for kind, at in first_events(name).items()}


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all values in an event; of lists the first item."""
    if path:
        yield path
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value[:1])
    for key, item in items:
        yield from paths(item, (*path, key))


def replaced(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def sampled(event: dict[str, Any]) -> list[Path]:
    """Paths of an event: all of a small one, some of the deep ones of a large one."""
    found = [path for path in paths(event) if path != ("Event",)]
    return found[:30] + found[30 :: max(len(found) // 15, 1)]


@pytest.mark.parametrize("kind", CASES)
def test_read_event_with_a_value_of_another_type_returns_metrics(kind: str) -> None:
    name, at = CASES[kind]
    event = json.loads(lines(name)[at])
    before = b"".join(line + b"\n" for line in lines(name)[:at])
    after = b"".join(line + b"\n" for line in lines(name)[at + 1 :])
    for path in sampled(event):
        for value in VALUES:
            changed = json.dumps(replaced(event, path, value)).encode()
            run, jobs, tasks = reader.read_jobs(log(before + changed + b"\n" + after))
            assert run.bad_lines == 0, (path, value)
            json.dumps(run.to_json(), allow_nan=False, ensure_ascii=False).encode()
            findings.check(run)
            try:
                graph.build(run, jobs, tasks)
            except NotFoundError:
                continue  # without the start of the application, or without any job


def test_read_executor_id_that_is_a_number_is_noted_as_malformed() -> None:
    name = LOGS[0]
    at = first_events(name)["SparkListenerExecutorAdded"]
    event = replaced(json.loads(lines(name)[at]), ("Executor ID",), 1)
    data = b"\n".join((*lines(name)[:at], json.dumps(event).encode(), *lines(name)[at + 1 :]))
    run = reader.read_log(log(data))
    assert not run.complete
    assert any("1 event" in note for note in run.notes), run.notes


def test_read_empty_lines_are_ignored() -> None:
    name = LOGS[0]
    plain = reader.read_log(log(b"\n".join(lines(name))))
    data = b"\n \n\r\n".join(lines(name))
    assert reader.read_log(log(data)) == plain
