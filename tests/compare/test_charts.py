from __future__ import annotations

import re
from typing import Any

import pytest

from emrctl.compare import charts, drawing
from emrctl.compare.comparison import Comparison, compare
from emrctl.compare.drawing import Chart
from emrctl.compare.records import RunRecord
from emrctl.compare.scaling import measure, of_comparison
from tests.compare import comparisons


def rows(chart: Chart | None, layer: int) -> list[dict[str, Any]]:
    assert chart is not None
    found: list[dict[str, Any]] = chart.layers[layer]["data"]["values"]
    return found


@pytest.fixture(scope="module")
def scaled() -> Comparison:
    return comparisons.scaled()


def timed(*seconds: tuple[str, float]) -> Comparison:
    runs = [
        RunRecord(id=f"{label}{n}", label=label, settings={"x": label}, duration_s=value)
        for n, (label, value) in enumerate(seconds)
    ]
    return compare(runs)


def test_durations_has_a_point_per_run_with_range_and_mean() -> None:
    chart = charts.durations(timed(("a", 3.0), ("a", 5.0), ("b", 8.0)))
    ranges, means, points = (rows(chart, layer) for layer in range(3))
    assert [(row["x"], row["x2"]) for row in ranges] == [(3.0, 5.0), (8.0, 8.0)]
    assert [row["x"] for row in points] == [3.0, 5.0, 8.0]
    assert points[0]["tip"] == "a0: 3.00 s"
    assert [row["x"] for row in means] == [4.0, 8.0]
    assert chart is not None
    assert chart.rows == 2


def test_durations_of_many_runs_shows_some_of_them() -> None:
    many = timed(*(("a", float(n)) for n in range(1, 500)), ("b", 1.0))
    assert 40 <= len(rows(charts.durations(many), 2)) <= 61


def test_durations_of_failed_runs_says_so() -> None:
    failed = RunRecord(id="r2", label="b", settings={"x": 1}, state="FAILED")
    chart = charts.durations(compare([RunRecord(id="r1", label="a", duration_s=2.0), failed]))
    assert [row["text"] for row in rows(chart, 4)] == ["2.0 s", "no completed run"]
    assert charts.durations(compare([failed])) is None


def test_ratios_has_intervals_of_repeated_configurations_only() -> None:
    chart = charts.ratios(timed(("a", 10.0), ("a", 10.1), ("b", 20.0), ("b", 20.2), ("c", 30.0)))
    assert len(rows(chart, 1)) == 1
    points = rows(chart, 2)
    assert [round(row["x"]) for row in points] == [100, 199]
    assert [row["colour"] for row in points] == ["var(--slower)", "var(--same)"]
    assert "95 % interval" in points[0]["tip"]
    assert "interval" not in points[1]["tip"]


def test_ratios_of_a_single_configuration_is_none() -> None:
    assert charts.ratios(timed(("a", 10.0), ("a", 11.0)[:2])) is not None
    assert charts.ratios(timed(("a", 10.0))) is None


def test_speed_up_has_efficiency_and_law(scaled: Comparison) -> None:
    chart = charts.speed_up(of_comparison(scaled))
    assert chart is not None
    points = rows(chart, 3)
    assert [row["x"] for row in points] == [1, 2, 4]
    assert points[0]["text"] == "100 %"
    assert "of the work is serial" in chart.note


def test_speed_up_of_two_scales_has_no_law() -> None:
    chart = charts.speed_up(measure({1: [10.0], 2: [6.0]}))
    assert chart is not None
    assert len(chart.layers) == 3
    assert chart.note.startswith("No law is fitted: 2 of at least 3")
    assert charts.speed_up(measure({1: [10.0]})) is None
    assert charts.speed_up(None) is None


def test_cost_joins_the_configurations_that_no_other_beats() -> None:
    prices = {"slow and cheap": (20.0, 1.0), "fast": (5.0, 3.0), "worse": (21.0, 3.5)}
    runs = [
        RunRecord(id=label, label=label, settings={"x": label}, duration_s=time, cost_usd=price)
        for label, (time, price) in prices.items()
    ]
    chart = charts.cost(compare(runs))
    assert [(row["x"], row["y"]) for row in rows(chart, 0)] == [(5.0, 3.0), (20.0, 1.0)]
    assert len(rows(chart, 1)) == 3
    assert charts.cost(compare(runs[:1])) is None


# Drawing


def test_svg_has_values_as_titles_and_colours_of_the_page(scaled: Comparison) -> None:
    chart = charts.durations(scaled)
    assert chart is not None
    text = drawing.svg(chart)
    assert text.count("<svg") == 2
    assert text.count("<title>run-4-0: ") == 2
    assert re.findall(r"max-width:(\d+)px", text) == ["840", "350"]
    assert 'fill="var(--c0)"' in text
    assert "font-family" not in text
    assert "xmlns" not in text


def test_png_has_concrete_colours(scaled: Comparison) -> None:
    chart = charts.ratios(scaled)
    assert chart is not None
    image = drawing.png(chart)
    assert image.startswith(b"\x89PNG")
    assert int.from_bytes(image[16:20], "big") == 2 * 900  # pixels wide


def test_all_colours_have_a_light_and_a_dark_value() -> None:
    assert drawing.LIGHT.keys() == drawing.DARK.keys()
    used = {colour[4:-1] for colour in (*drawing.COLOURS, *charts._OUTCOMES.values())}
    assert used <= drawing.LIGHT.keys()


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [drawing.LIGHT, drawing.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["--text", "--dim", "--faster", "--slower", "--same", "--c3"])
def test_texts_and_marks_have_enough_contrast(theme: dict[str, str], name: str) -> None:
    light, dark = sorted((_luminance(theme[name]), _luminance(theme["--back"])), reverse=True)
    # WCAG 2.2: 4.5 for text, 3 for parts of graphics.
    assert (light + 0.05) / (dark + 0.05) >= (4.5 if name in {"--text", "--dim"} else 3)
