from __future__ import annotations

import dataclasses
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from emrctl.compare import gallery, page
from emrctl.compare.comparison import Comparison, compare
from emrctl.compare.figures import FigureRow, Measure
from emrctl.compare.records import RunRecord
from emrctl.errors import UsageError
from emrctl.metrics.model import ExecutorMetrics, RunMetrics
from tests.compare import comparisons
from tests.compare.comparisons import EVIL
from tests.compare.stage_runs import run, stage


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


def html(comparison: Comparison, title: str = "t") -> str:
    return page.html(comparison, gallery.build(comparison), title)


@pytest.fixture(scope="module")
def scaled() -> str:
    return html(comparisons.scaled(), "Executors & cores")


@pytest.fixture(scope="module")
def hostile() -> ParsedPage:
    return parsed(html(comparisons.hostile(), EVIL))


def test_page_escapes_texts_of_runs(hostile: ParsedPage) -> None:
    assert hostile.tags.count("script") == 1
    assert "img" not in hostile.tags
    assert not {name for name, _ in hostile.attributes if name.startswith("on")}
    assert hostile.text.count(EVIL) >= 10


def test_charts_keep_texts_of_runs_as_they_are(hostile: ParsedPage) -> None:
    tips = [value or "" for name, value in hostile.attributes if name == "data-tip"]
    assert any(EVIL in tip for tip in tips)
    summaries = [value or "" for name, value in hostile.attributes if name == "aria-label"]
    assert any(EVIL in summary for summary in summaries)


def test_page_loads_no_external_resources(scaled: str) -> None:
    attributes = parsed(scaled).attributes
    assert not {name for name, _ in attributes} & {"src", "xlink:href", "srcset"}
    links = [value or "" for name, value in attributes if name == "href"]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "default-src 'none'" in scaled
    assert "url(" not in scaled


def test_page_of_nine_runs_is_small(scaled: str) -> None:
    assert len(scaled.encode()) < 400_000


def test_page_of_a_large_run_is_at_most_a_third_of_1_5_mb() -> None:
    workers = tuple(
        ExecutorMetrics(id=str(worker), host=f"ip-10-0-0-{worker}", cores=4, added_ms=0)
        for worker in range(100)
    )
    rows = (stage(at, at, at + 2, f"count at job.py:{at}") for at in range(200))
    metrics = dataclasses.replace(run(*rows, end_s=500), executors=workers)
    log = comparisons.noisy_log(metrics, random.Random(1))  # noqa: S311
    samples = comparisons.node_samples(metrics, count=512, workers=100)
    large = RunRecord(id="r", metrics=metrics, event_log=lambda: log, node_samples=lambda: samples)
    text = html(compare([large]))
    assert text.count("Executor 39 on ip-10-0-0-39") >= 2
    assert len(text.encode()) <= 500_000


def test_page_has_its_sections_in_order(scaled: str) -> None:
    assert re.findall(r'<section id="(\w+)"', scaled) == [
        "verdict",
        "differences",
        "durations",
        "executors",
        "nodes",
        "stages",
        "tasks",
        "speed",
        "cost",
        "findings",
        "provenance",
    ]
    links = [value for name, value in parsed(scaled).attributes if name == "href"]
    ids = [f"#{value}" for name, value in parsed(scaled).attributes if name == "id"]
    assert set(links) <= set(ids)


def test_every_chart_has_a_name_and_a_wide_and_a_narrow_form(scaled: str) -> None:
    heads = re.findall(
        r'<svg class="(wide|narrow)" role="img" tabindex="0" aria-label="(.+?)"', scaled
    )
    assert [kind for kind, _ in heads] == ["wide", "narrow"] * (len(heads) // 2)
    assert len(heads) == scaled.count("<svg") >= 16
    assert scaled.count("<figure>") == scaled.count("<figcaption>") == len(heads) // 2


def test_page_begins_with_the_verdict_in_one_sentence(scaled: str) -> None:
    headline = re.search(r'class="headline (\w+)">(.*?)</p>', scaled)
    assert headline is not None
    assert headline[1] == "faster"
    assert re.fullmatch(
        r"Largest gain: 4 executors takes [\d.]+ % less time than 1 executors "
        r"\(95 % interval MINUS[\d.]+ to MINUS[\d.]+ %\)\.",
        headline[2].replace("\N{MINUS SIGN}", "MINUS"),
    )


def test_page_has_labels_in_words() -> None:
    result = {"steps_s": {"train": 1.0}, "figures": {"best": {"train_s": 2.0}}}
    runs = [
        RunRecord(id=str(n), settings={"executor_memory": f"{n}g"}, result={**result, "n": n})
        for n in (1, 2)
    ]
    other = {"steps_s": {"train": 3.0}, "figures": {"best": {"train_s": 4.0}}}
    text = parsed(html(compare([*runs, dataclasses.replace(runs[0], id="3", result=other)]))).text
    for words in ("executor memory", "steps: train", "best: train"):
        assert words in text
    assert not re.search(r"[a-z]_[a-z]", text.partition("Provenance")[0])


def test_page_shows_findings_that_are_new_or_gone() -> None:
    runs = [comparisons.record(n, 0) for n in (1, 4)]
    idle = dataclasses.replace(runs[0].metrics or RunMetrics(), stages=())
    found = html(compare([dataclasses.replace(runs[0], metrics=idle), runs[1]]))
    assert '<span class="tag">new</span>' in found
    assert "One partition is much larger" in found or "One task is slow" in found
    back = html(compare([runs[1], dataclasses.replace(runs[0], metrics=idle)]))
    assert '<span class="tag">gone</span>' in back


def test_page_says_how_to_run_it_again(scaled: str) -> None:
    text = parsed(scaled).text
    assert "emrctl submit --executors 4 scale" in text
    for words in ("emr-7.5.0", "m5.xlarge primary, 2 m5.xlarge core", "0a1b/job.py", "3.5.9"):
        assert words in text


def test_page_of_runs_without_metrics_has_no_charts_of_them() -> None:
    found = parsed(html(compare([RunRecord(id="r1")])))
    assert "duration unknown" in found.text
    assert "svg" not in found.tags
    empty = compare([RunRecord(id="r1", metrics=RunMetrics(), duration_s=3.0)])
    assert "Executors over time" not in parsed(html(empty)).text


def test_page_of_one_run_has_one_configuration() -> None:
    text = parsed(html(compare([comparisons.record(2, 0)]))).text
    assert "1 run in 1 configuration" in text


def test_summary_without_a_faster_configuration_counts_the_slower_ones() -> None:
    comparison = comparisons.scaled()
    reference = len(comparison.configurations) - 1
    runs = [run for item in comparison.configurations for run in item.records]
    slower = compare(runs, runs.index(comparison.configurations[reference].records[0]))
    assert page.summary(slower) == (
        "No configuration is certainly faster than 4 executors; 2 of 2 are certainly slower.",
        "slower",
    )


def test_summary_of_two_configurations_is_their_verdict() -> None:
    runs = [comparisons.record(n, repeat) for n in (1, 2) for repeat in range(3)]
    sentence, outcome = page.summary(compare(runs))
    assert outcome == "faster"
    assert sentence.startswith("2 executors takes ")
    single, outcome = page.summary(compare([runs[0], runs[3]]))
    assert outcome is None
    assert single.startswith("2 executors: inconclusive")


def test_write_creates_the_folder_and_reports_paths_that_are_not_writable(tmp_path: Path) -> None:
    comparison = comparisons.scaled()
    path = tmp_path / "deep" / "page.html"
    page.write(comparison, path, "A <title>")
    assert "<title>A &lt;title&gt;</title>" in path.read_text()
    assert [item.name for item in path.parent.iterdir()] == ["page.html"]
    with pytest.raises(UsageError, match="--html"):
        page.write(comparison, Path("/proc/nope/page.html"), None, ())


def test_figures_with_deviation_name_the_unit_of_a_range_once() -> None:
    measure = Measure(2.0e6, 1.0e6, 3.0e6, 3, 1.0e6)
    small = dataclasses.replace(measure, minimum=100.0)
    row = FigureRow("input_bytes", "input", "B", (measure, small, None), (None,) * 3)
    label, cells = page._cells(row)
    assert label == "input"
    assert cells[0].endswith("<small>1 … 3 MB</small>")
    assert cells[1].endswith("<small>100 B … 3 MB</small>")
    assert cells[2] == "-"
