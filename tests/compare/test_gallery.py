from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.compare import gallery
from emrctl.compare.comparison import compare
from emrctl.compare.explain import MAX_CONFIGURATIONS
from emrctl.errors import UsageError
from tests.compare import comparisons, golden


def test_build_returns_all_charts_in_the_order_of_the_page() -> None:
    names = [chart.name for chart in gallery.build(comparisons.scaled())]
    assert names == [
        "durations",
        "ratios",
        *("executors-1", "executors-2", "executors-3"),
        *("nodes-1", "nodes-2", "nodes-3"),
        *("stages-2", "stages-3"),
        "tasks",
        "speed-up",
        "cost",
    ]


def test_charts_are_those_of_the_golden_file() -> None:
    """Update it with `python -m tests.compare.golden` after a change of a chart, and look at it."""
    expected = golden.read()
    found = golden.charts()
    assert found.keys() == expected.keys()
    for name, chart in found.items():
        assert chart == expected[name], name


def test_build_of_many_configurations_limits_charts_of_single_ones() -> None:
    charts = gallery.build(compare([comparisons.record(n, 0) for n in range(1, 12)]))
    names = [chart.name for chart in charts]
    assert sum(name.startswith("executors") for name in names) == MAX_CONFIGURATIONS
    assert sum(name.startswith("stages") for name in names) == MAX_CONFIGURATIONS


def test_write_png_writes_a_file_per_chart(tmp_path: Path) -> None:
    charts = gallery.build(comparisons.scaled())[:2]
    paths = gallery.write_png(charts, tmp_path / "slides")
    assert [path.name for path in paths] == ["durations.png", "ratios.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--png"):
        gallery.write_png(charts, tmp_path / "file")


def test_typical_run_is_the_one_of_median_duration() -> None:
    runs = [comparisons.record(2, repeat) for repeat in (9, 0, 4)]
    found = gallery.typical(compare(runs).configurations[0])
    assert found is not None
    single = compare([*runs, comparisons.record(1, 0)]).configurations[0]
    chosen = gallery.typical(single)
    assert chosen is not None
    assert chosen.id == "run-2-4"


def test_task_durations_begin_with_the_reference() -> None:
    runs = [comparisons.record(n, 0) for n in (1, 2, 4)]
    chart = next(c for c in gallery.build(compare(runs, reference=2)) if c.name == "tasks")
    boxes = chart.layers[1]["data"]["values"]
    names = dict.fromkeys(box["tip"].partition(",")[0] for box in boxes)
    assert list(names) == ["4 executors", "1 executors", "2 executors"]
