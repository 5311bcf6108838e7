"""The causes named for the recorded failing jobs; `make failure-causes` runs and records them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emrctl.runs.backends import step_failure
from emrctl.runs.backends.base import LogFile
from tests.runs.failures.case import KINDS, Case, is_right
from tests.runs.failures.corpus import CASES, kinds
from tests.runs.failures.record import RUN, read

RECORDED = [(name, where, logs) for where in KINDS for name, logs in read(where).items()]


@pytest.mark.parametrize(
    ("name", "logs"),
    [pytest.param(name, logs, id=f"{where}-{name}") for name, where, logs in RECORDED],
)
def test_explain_recorded_run_names_cause(name: str, logs: dict[str, bytes]) -> None:
    case = CASES[name]
    state = logs[RUN].decode()
    if case.cause is None:
        assert state == "CANCELLED"
        return
    files = [LogFile(name=log, uri=log, text=text) for log, text in logs.items()]
    found = step_failure.explain(files)
    assert state == "FAILED"
    assert is_right(case, found.line if found else None), found


def test_recordings_cover_every_case_and_kind() -> None:
    recorded = {(name, where) for name, where, _ in RECORDED}
    assert recorded == {(name, where) for name in CASES for where in kinds(name)}
    assert len(CASES) >= 60


def test_recordings_contain_no_local_paths() -> None:
    places = ("/tmp/failures-", sys.prefix, str(Path(__file__).parents[3]))  # noqa: S108
    for name, where, logs in RECORDED:
        for text in logs.values():
            for place in places:
                assert place.encode() not in text, (name, where)


def test_is_right_rejects_words_of_launch_command() -> None:
    case = Case(program="", cause="kill")
    assert not is_right(case, "-XX:OnOutOfMemoryError='kill %p'")
