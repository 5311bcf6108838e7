from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from emrctl.compare import charts, report
from emrctl.compare.comparison import Comparison, compare
from emrctl.compare.records import RunRecord
from emrctl.metrics.model import ExecutorMetrics, Quantiles, RunMetrics, StageMetrics

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def run() -> RunMetrics:
    spread = Quantiles(min=1, p25=2, median=3, p75=4, max=5)
    stage = StageMetrics(
        id=0,
        name=EVIL,
        status="COMPLETE",
        submitted_ms=1_000,
        completed_ms=3_500,
        tasks=1,
        tasks_ok=1,
        duration_ms_quantiles=spread,
    )
    failed = dataclasses.replace(stage, attempt=1, status="FAILED", completed_ms=None)
    worker = ExecutorMetrics(id="1", host="h", cores=2, added_ms=500, task_time_ms=4_750)
    gone = dataclasses.replace(worker, id="2", removed_ms=2_500, remove_reason=EVIL)
    return RunMetrics(
        app_id="app",
        app_name=EVIL,
        start_ms=0,
        end_ms=10_000,
        complete=True,
        stages=(failed, stage),
        executors=(worker, gone),
    )


@pytest.fixture
def comparison() -> Comparison:
    one = RunRecord(id="r1", label=EVIL, duration_s=3.0, metrics=run(), local=True)
    two = RunRecord(id="r2", label="two", settings={"conf": {EVIL: EVIL}}, state="FAILED")
    again = dataclasses.replace(one, id="r3", duration_s=5.0)
    return compare([one, two, again])


class Page(HTMLParser):
    """Which elements a page has, and the text outside scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] not in {"script", "style"}:
            self.text += data


def parsed(page: str) -> Page:
    found = Page()
    found.feed(page)
    return found


def test_what_a_run_is_called_is_text(comparison: Comparison) -> None:
    page = parsed(report.html(comparison, EVIL))
    assert page.tags.count("script") == 3
    assert "img" not in page.tags
    assert page.text.count(EVIL) >= 6


def test_charts_carry_no_markup_of_a_runs(comparison: Comparison) -> None:
    page = report.html(comparison, "t")
    found = re.search(r'id="charts">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    drawn = json.loads(found[1])
    assert [chart["id"] for chart in drawn] == ["chart-0", "chart-1", "chart-2"]
    assert "<script>" not in json.dumps(drawn)
    assert "<img" not in json.dumps(drawn)


def test_the_page_asks_nobody_for_anything(comparison: Comparison) -> None:
    page = report.html(comparison, "t")
    names = {name for name, _ in parsed(page).attributes}
    assert not names & {"src", "href"}
    assert len(page.encode()) <= 5_000_000


def test_the_page_says_what_was_compared_and_where(comparison: Comparison) -> None:
    text = parsed(report.html(comparison, "Allocation & cores")).text
    assert "Allocation & cores" in text
    assert "3 runs in 2 configurations, compared with" in text
    assert "timings are localhost's" in text


def test_durations_are_bars_with_their_range(comparison: Comparison) -> None:
    chart = charts.duration(comparison)
    assert chart is not None
    bars, dots = chart["data"]
    assert bars["x"] == [4.0, None]
    assert (bars["error_x"]["array"], bars["error_x"]["arrayminus"]) == ([1.0, 0], [1.0, 0])
    assert (dots["x"], dots["text"], dots["y"]) == ([3.0, 5.0], ["r1", "r3"], [0, 0])
    assert chart["layout"]["yaxis"]["ticktext"][1] == "two"


def bars(chart: dict[str, Any] | None) -> dict[str, Any]:
    assert chart is not None
    found: dict[str, Any] = chart["data"][0]
    return found


def test_executors_are_bars_from_added_to_removed() -> None:
    found = bars(charts.executors(run()))
    assert (found["base"], found["x"]) == ([0.5, 0.5], [9.5, 2.0])
    assert found["text"] == ["0 tasks, 2 cores, 25 % busy", "0 tasks, 2 cores, 119 % busy"]
    assert found["hovertext"][1].endswith("onerror=alert(2)&gt;")


def test_stages_are_bars_and_failed_ones_red() -> None:
    found = bars(charts.stages(run()))
    assert (found["base"], found["x"]) == ([1.0, 1.0], [9.0, 2.5])
    assert found["marker"]["color"] == [charts.FAILED_COLOUR, charts.COLOURS[2]]
    assert found["text"][1] == "2.5 s, 1 task"


def test_many_stages_show_the_longest() -> None:
    one = run().stages[1]
    many = tuple(
        dataclasses.replace(one, id=n, completed_ms=1_001 + n) for n in range(charts.MAX_BARS + 5)
    )
    found = bars(charts.stages(dataclasses.replace(run(), stages=many)))
    assert len(found["x"]) == charts.MAX_BARS
    assert min(found["x"]) == 0.006


def test_runs_without_figures_have_a_page_too() -> None:
    page = parsed(report.html(compare([RunRecord(id="r1")]), "t"))
    assert "its duration is not known" in page.text
    empty = compare([RunRecord(id="r1", metrics=RunMetrics())])
    assert "Executors" not in parsed(report.html(empty, "t")).text


def test_findings_are_lists_and_text_in_them_is_text() -> None:
    stage = StageMetrics(
        id=0,
        status="COMPLETE",
        name="<img src=x onerror=alert(3)>",
        first_task_ms=20_000,
        completed_ms=60_000,
        tasks=1,
        tasks_ok=1,
        task_time_ms=40_000,
        duration_ms_quantiles=Quantiles(
            min=40_000, p25=40_000, median=40_000, p75=40_000, max=40_000
        ),
    )
    worker = ExecutorMetrics(id="1", cores=4, added_ms=0)
    found = RunMetrics(start_ms=0, end_ms=61_000, stages=(stage,), executors=(worker,))
    page = report.html(compare([RunRecord(id="r1", metrics=found)]), "t")
    text = parsed(page).text
    assert "few_partitions" in text
    assert "1 task for 4 cores" in text
    assert "<img" not in page
