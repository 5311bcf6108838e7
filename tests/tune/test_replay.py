"""Replays on tables of measured configurations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from emrctl.errors import UsageError
from emrctl.tune import Goal, replay
from emrctl.tune.replay import Columns, Measurements, Searches

COLUMNS = Columns(time="seconds", features=("type", "nodes"), where={}, completed="ok")
Table = Callable[[str], Path]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    def write(rows: str) -> Path:
        path = tmp_path / "runs.csv"
        path.write_text(f"type,nodes,seconds,ok,data\n{rows}")
        return path

    return write


def test_read_groups_repeats_of_a_configuration(table: Table) -> None:
    path = table(
        "m5.xlarge,2,100,true,a\nm5.xlarge,2,110,true,a\nm5.xlarge,4,70,true,a\n"
        "m5.xlarge,4,,true,a\nm5.xlarge,8,50,false,a\nm5.xlarge,4,1,true,b\n"
    )
    columns = dataclasses.replace(COLUMNS, where={"data": "a"})
    read = replay.read(path, columns, Goal.time)
    assert list(read.candidates) == [{"type": "m5.xlarge", "nodes": n} for n in (2, 4, 8)]
    assert read.values[0] == [100, 110]
    assert math.isnan(read.values[1][1])
    assert read.truth() == [105, math.inf, math.inf]


def test_read_cost_multiplies_time_price_and_number_of_machines(table: Table) -> None:
    read = replay.read(table("m5.xlarge,2,3600,1,a\nc5.xlarge,4,1800,1,a\n"), COLUMNS, Goal.cost)
    assert read.truth() == pytest.approx([2 * 0.192, 4 * 0.17 / 2])


def test_read_cost_uses_a_column_of_prices(tmp_path: Path) -> None:
    path = tmp_path / "runs.tsv"
    path.write_text("kind\tnodes\tprice\tseconds\nbig\t2\t1.5\t3600\nsmall\t3\t0.5\t3600\n")
    columns = Columns(time="seconds", features=("kind", "nodes", "price"), where={})
    assert replay.read(path, columns, Goal.cost).truth() == pytest.approx([3.0, 1.5])


@pytest.mark.parametrize(
    ("rows", "goal", "message"),
    [
        ("m5.xlarge,2,soon,true,a\n", "time", "line 2: seconds is 'soon', no number"),
        ("m5.xlarge,2,5,true,a\nm5.xlarge,4,-5,true,a\n", "time", "line 3: seconds is -5"),
        ("m5.xlarge,2,inf,true,a\n", "time", "line 2: seconds is inf; a time must be above 0"),
        ("m5.xlarge,2,5e-324,true,a\n", "time", "line 2: seconds is 5e-324"),
        ("m5.xlarge,2,5,true\n", "time", "line 2: 4 cells, the header has 5"),
        ("x" * 200_000 + ",2,5,true,a\n", "time", "line 2: field larger than field limit"),
        ("m5.xlarge,0,5,1,a\nm5.xlarge,2,5,1,a\n", "cost", "nodes=0 is 0 USD per hour"),
        ("m5.xlarge,-2,5,1,a\nm5.xlarge,2,5,1,a\n", "cost", "is -0.384 USD per hour, not above 0"),
        ("m5.xlarge,2,5,true,a\n", "time", "1 configurations to search"),
        ("", "time", "0 configurations to search"),
        ("big,2,5,true,a\nbig,4,5,true,a\n", "cost", "the price of type=big, nodes=2 is not known"),
        ("m5.xlarge,2,,true,a\nm5.xlarge,4,9,false,a\n", "time", "no configuration succeeded"),
    ],
)
def test_read_bad_table_names_file_and_line(
    table: Table, rows: str, goal: str, message: str
) -> None:
    with pytest.raises(UsageError, match=r"runs\.csv") as caught:
        replay.read(table(rows), COLUMNS, Goal(goal))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("features", "completed", "message"),
    [
        (("type", "seconds"), "ok", "'seconds' is the column of the time"),
        (("type", "type"), "ok", "column 'type' is given twice"),
        (("type", "nodes"), "seconds", "--completed seconds: the column has another use"),
        (("type", "nodes"), "nodes", "--completed nodes: the column has another use"),
    ],
)
def test_read_rejects_column_with_two_uses(
    table: Table, features: tuple[str, ...], completed: str, message: str
) -> None:
    path = table("m5.xlarge,2,5,true,a\nm5.xlarge,4,9,true,a\n")
    columns = Columns(time="seconds", features=features, where={}, completed=completed)
    with pytest.raises(UsageError, match=message):
        replay.read(path, columns, Goal.time)


def test_read_accepts_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("type;nodes;seconds;ok\nm5.xlarge;2;5;1\nm5.xlarge;4;3;1\n")
    assert replay.read(path, COLUMNS, Goal.time).truth() == [5, 3]


@pytest.mark.parametrize("within", [math.nan, math.inf, -0.05])
def test_replay_rejects_within_that_is_no_percentage(within: float) -> None:
    with pytest.raises(UsageError, match="--within"):
        Searches(runs=2, seeds=1, within=within).replay(_space(), "random")


def test_read_unknown_column_lists_the_columns(table: Table) -> None:
    columns = Columns(time="elapsed", features=("type",), where={})
    with pytest.raises(UsageError, match="no column 'elapsed'") as caught:
        replay.read(table(""), columns, Goal.time)
    assert caught.value.hint == "It has type, nodes, seconds, ok, data."
    with pytest.raises(UsageError, match="cannot read"):
        replay.read(Path("missing.csv"), columns, Goal.time)


def _space() -> Measurements:
    counts = range(1, 31)
    return Measurements(
        candidates=[{"nodes": count} for count in counts],
        values=[[600 / count + 5 * count, 606 / count + 5 * count] for count in counts],
    )


def test_replay_search_needs_fewer_runs_than_random() -> None:
    searches = Searches(8, 10, 0.05)
    search, random = (searches.replay(_space(), name) for name in ("search", "random"))
    assert search.within[-1] == 1.0
    assert search.within[-1] >= random.within[-1]
    assert search.behind == sorted(search.behind, reverse=True)
    assert len(random.within) == 8


def test_replay_grid_finds_the_best_after_all_configurations() -> None:
    grid = Searches(99, 1, 0.0).replay(_space(), "grid")
    assert len(grid.within) == 30
    assert grid.behind[-1] == 0.0
    assert grid.within[9:12] == [0.0, 1.0, 1.0]
