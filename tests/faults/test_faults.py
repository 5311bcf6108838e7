"""The short form of `make faults`: two points of each command, each kind of fault once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import report, scenario, soak, sweeps
from tests.faults.client import Fault
from tests.faults.emulator import Rule
from tests.faults.report import Row
from tests.faults.sweeps import World

SHORT = (
    "kill submit",
    "kill wait, runs on S3",
    "kill experiment",
    "full submit",
    "throttled wait 60 %",
    "two wait wait",
    "stop submit",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("faults")
    with scenario.running(folder / "home") as emulator:
        yield World(emulator, folder, points=1)


@pytest.mark.parametrize("name", SHORT)
def test_fault_of_client_loses_nothing_and_leaves_nothing(world: World, name: str) -> None:
    fill = dict(sweeps.rows(world))[name]
    row = fill()
    assert row.tried
    assert not row.failed, row.problems


def test_kill_ends_client_at_its_point(world: World) -> None:
    project = world.copy()
    result = project.run("submit --detach job", Fault(action="kill", at=3))
    assert result.killed
    assert len(result.points) == 3


def test_check_runs_reports_step_without_record(world: World) -> None:
    project = world.copy()
    assert project.run("submit --detach job").code == 0
    [record] = (project.folder / ".emrctl" / "runs").glob("*/run.json")
    record.unlink()
    project.check_runs()
    assert project.lost
    assert "has no run" in project.problems[0]


def test_network_cuts_body_of_every_response(world: World) -> None:
    project = world.copy(shared=True)
    with world.network(Rule(id=0, answer="cut", service="s3")):
        result = project.run("runs")
    assert result.code == 5, result
    assert "error: " in result.err


def test_show_prints_problems_and_returns_false(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("a", tried=2), Row("b", tried=1, lost=1, problems=["run 7 is lost"])]
    assert not report.show(rows)
    out = capsys.readouterr().out
    assert out.splitlines()[2:] == [
        "| a    | 2     | 0    | 0    |",
        "| b    | 1     | 1    | 0    |",
        "b: run 7 is lost",
    ]
    assert report.show(rows[:1])


def test_short_soak_loses_nothing() -> None:
    soak.soak(sequences=2, operations=4, derandomize=True)
    assert soak.Soak.done.total() >= 4
