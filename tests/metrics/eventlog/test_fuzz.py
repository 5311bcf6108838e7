"""10,000 damaged logs: none crashes the reader, none with changed metrics counts as complete.

Damage that changes a digit in valid JSON makes another valid log and is detectable only if the log
contains the number twice. In these cases the metrics are compared with those of a second reader.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from emrctl.errors import UsageError
from emrctl.metrics.eventlog import codecs, reader
from emrctl.metrics.eventlog.layout import EventLogFile
from emrctl.metrics.model import RunMetrics
from tests import event_logs

Damage = Callable[[random.Random, bytes], bytes]

ROUNDS = 10_000
SHARES = 8  # tests that can run in parallel
# Small ones: Spark 1.2 to 3.2 of other people, Spark 3.5 of this project.
PUBLIC = (
    "local-1426533911241",
    "application_1578436911597_0052",
    "local-1422981759269",
    "application_1628109047826_1317105",
    "spark2-eventlog.zstd",
)
RECORDED = ("memory_unused.ill.zstd", "speculation_waste.ill.zstd", "idle_executors.ill.zstd")
LOGS = [
    *(path for path in event_logs.PUBLIC if path.name in PUBLIC),
    *(event_logs.RECORDED / name for name in RECORDED),
]


def decoded(data: bytes) -> bytes:
    out = b""
    try:
        for block in codecs.decode(io.BytesIO(data)):
            out += block
    except codecs.CutError:
        pass
    return out


def read(data: bytes) -> RunMetrics:
    return reader.read_log([EventLogFile("app-1", lambda: io.BytesIO(data))])


# Damage of bytes


def cut(dice: random.Random, data: bytes) -> bytes:
    return data[: dice.randrange(len(data))]


def flip(dice: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        out[dice.randrange(len(out))] = dice.choice((dice.randrange(256), *b'{}[]",:0 \n'))
    return bytes(out)


def blank(dice: random.Random, data: bytes) -> bytes:
    at, size = dice.randrange(len(data)), dice.randint(1, 300)
    return data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]


def lose(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + data[at + dice.randint(1, 3000) :]


def double(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data))
    end = at + dice.randint(1, 3000)
    return data[:end] + data[at:end] + data[end:]


# Damage of lines


def swap_lines(dice: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    one, two = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return b"".join(lines)


def lose_lines(dice: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    at = dice.randrange(len(lines))
    return b"".join(lines[:at] + lines[at + dice.randint(1, 3) :])


def double_line(dice: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    lines.insert(dice.randrange(len(lines)), dice.choice(lines))
    return b"".join(lines)


def foreign_line(dice: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    foreign = (b"null\n", b"[1]\n", b'{"a":1}\n', b"WARN x\n", b'{"Event":"X"\n', b"\x00\n")
    lines.insert(dice.randrange(len(lines)), dice.choice(foreign))
    return b"".join(lines)


BYTES: tuple[Damage, ...] = (cut, flip, blank, lose, double)
LINES: tuple[Damage, ...] = (swap_lines, lose_lines, double_line, foreign_line)
CHANGES_VALUES: tuple[Damage, ...] = (flip, blank, lose, double)


@pytest.fixture(scope="module")
def packed(encoders: dict[str, Callable[[bytes], bytes]]) -> list[tuple[bytes, dict[str, bytes]]]:
    texts = [event_logs.text_of(path) for path in LOGS]
    return [(text, {name: pack(text) for name, pack in encoders.items()}) for text in texts]


@pytest.mark.parametrize("share", range(SHARES))
def test_read_log_detects_damage(
    share: int,
    packed: list[tuple[bytes, dict[str, bytes]]],
    reference: Callable[[bytes], dict[str, Any]],
) -> None:
    undamaged = [read(text) for text, _ in packed]
    for seed in range(share, ROUNDS, SHARES):
        dice = random.Random(seed)  # noqa: S311
        which = dice.randrange(len(packed))
        framed = packed[which][1]
        encoder = dice.choice(("plain", "plain", *framed))
        damage = dice.choice(BYTES if encoder != "plain" else BYTES + LINES)
        damaged = damage(dice, framed[encoder])
        label = f"seed {seed}: {damage.__name__} of {encoder} {LOGS[which].name}"
        try:
            run = read(damaged)
        except UsageError:
            assert not reference(decoded(damaged))["events"], label
            continue
        detected = run.bad_lines or not run.complete or run.notes != undamaged[which].notes
        same = figures(run) == figures(undamaged[which])
        assert detected or same or damage in CHANGES_VALUES, label
        if "lack fields or have invalid ones" not in "".join(run.notes):
            assert_equal(run, reference(decoded(damaged)), label)


def figures(run: RunMetrics) -> RunMetrics:
    """Return the metrics without removals of executors and operators of plans.

    Two lines log a removal: both may be lost. Single lines log the metrics of a plan.
    """
    removal: dict[str, Any] = {"active": True, "removed_ms": None, "remove_reason": None}
    rows = tuple(replace(row, **removal) for row in run.executors)
    queries = tuple(replace(query, operators=None) for query in run.sql)
    return replace(run, notes=(), executors=rows, sql=queries)


def assert_equal(run: RunMetrics, expected: dict[str, Any], label: str) -> None:
    actual = {name: getattr(run, name) for name in expected if name != "events"}
    assert actual == {name: value for name, value in expected.items() if name != "events"}, label
