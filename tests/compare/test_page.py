from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from emrctl.compare import page
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
    removed = dataclasses.replace(worker, id="2", removed_ms=2_500, remove_reason=EVIL)
    return RunMetrics(
        app_id="app",
        app_name=EVIL,
        start_ms=0,
        end_ms=10_000,
        complete=True,
        stages=(failed, stage),
        executors=(worker, removed),
    )


@pytest.fixture
def comparison() -> Comparison:
    one = RunRecord(id="r1", label=EVIL, duration_s=3.0, metrics=run(), local=True)
    two = RunRecord(id="r2", label="two", settings={"conf": {EVIL: EVIL}}, state="FAILED")
    again = dataclasses.replace(one, id="r3", duration_s=5.0)
    return compare([one, two, again])


class ParsedPage(HTMLParser):
    """The elements of a page, and the text outside scripts."""

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


def parsed(text: str) -> ParsedPage:
    found = ParsedPage()
    found.feed(text)
    return found


def test_page_escapes_texts_of_runs(comparison: Comparison) -> None:
    found = parsed(page.html(comparison, EVIL))
    assert found.tags.count("script") == 3
    assert "img" not in found.tags
    assert found.text.count(EVIL) >= 6


def test_charts_escape_texts_of_runs(comparison: Comparison) -> None:
    text = page.html(comparison, "t")
    found = re.search(r'id="charts">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    drawn = json.loads(found[1])
    assert [chart["id"] for chart in drawn] == ["chart-0", "chart-1", "chart-2"]
    assert "<script>" not in json.dumps(drawn)
    assert "<img" not in json.dumps(drawn)


def test_page_loads_no_external_resources(comparison: Comparison) -> None:
    text = page.html(comparison, "t")
    names = {name for name, _ in parsed(text).attributes}
    assert not names & {"src", "href"}
    assert len(text.encode()) <= 5_000_000


def test_page_names_the_runs_and_localhost(comparison: Comparison) -> None:
    text = parsed(page.html(comparison, "Allocation & cores")).text
    assert "Allocation & cores" in text
    assert "3 runs in 2 configurations, compared with" in text
    assert "localhost timings" in text


def test_duration_chart_has_range_and_runs(comparison: Comparison) -> None:
    chart = page.duration_chart(comparison)
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


def test_executor_chart_has_bars_from_added_to_removed() -> None:
    found = bars(page.executor_chart(run()))
    assert (found["base"], found["x"]) == ([0.5, 0.5], [9.5, 2.0])
    assert found["text"] == ["0 tasks, 2 cores, 25 % busy", "0 tasks, 2 cores, 119 % busy"]
    assert found["hovertext"][1].endswith("onerror=alert(2)&gt;")


def test_stage_chart_colours_failed_stages_red() -> None:
    found = bars(page.stage_chart(run()))
    assert (found["base"], found["x"]) == ([1.0, 1.0], [9.0, 2.5])
    assert found["marker"]["color"] == [page.FAILED_COLOUR, page.COLOURS[2]]
    assert found["text"][1] == "2.5 s, 1 task"


def test_stage_chart_of_many_stages_has_the_longest() -> None:
    one = run().stages[1]
    many = tuple(
        dataclasses.replace(one, id=n, completed_ms=1_001 + n) for n in range(page.MAX_BARS + 5)
    )
    found = bars(page.stage_chart(dataclasses.replace(run(), stages=many)))
    assert len(found["x"]) == page.MAX_BARS
    assert min(found["x"]) == 0.006


def test_page_of_runs_without_metrics_has_no_timelines() -> None:
    found = parsed(page.html(compare([RunRecord(id="r1")]), "t"))
    assert "duration unknown" in found.text
    empty = compare([RunRecord(id="r1", metrics=RunMetrics())])
    assert "Executors" not in parsed(page.html(empty, "t")).text


def test_page_lists_findings_escaped() -> None:
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
    html = page.html(compare([RunRecord(id="r1", metrics=found)]), "t")
    text = parsed(html).text
    assert "few_partitions" in text
    assert "1 task for 4 cores" in text
    assert "<img" not in html
