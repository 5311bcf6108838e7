"""Every job has a test on Spark, a section of the documentation and an experiment."""

from __future__ import annotations

import re

import pytest
import yaml

from emrctl.runs import gallery
from tests.jobs.conftest import HERE, JOBS, ROOT

NAMES = sorted(gallery.scripts())
# Tools, and the study of pictures with its own pages: no experiment is about them alone.
WITHOUT_EXPERIMENT = {"checksum", "classify", "features", "wordcount"}
LINES = 120  # of a job that is read in a lesson
LONGER = {"checksum", "classify"}


def _page(name: str) -> str:
    """Return the text about a job: its part of the page that the table of jobs links, or all."""
    table = (ROOT / "docs" / "jobs" / "README.md").read_text()
    row = re.search(rf"^\| (\[`{name}`\]\((?P<link>[^)]+)\)|`{name}`) \|", table, re.MULTILINE)
    assert row, f"docs/jobs/README.md has no row for {name}"
    file, _, heading = (row["link"] or "README.md").partition("#")
    page = (ROOT / "docs" / "jobs" / file).read_text()
    if heading:
        parts = re.split(r"^## ", page, flags=re.MULTILINE)
        [page] = [part for part in parts if part.startswith(f"{heading}\n")]
    return page


def _experiments(name: str) -> list[str]:
    """Return the names of the files in examples/ that are experiments on a job."""
    files = sorted((ROOT / "examples").glob("*.yaml"))
    return [file.name for file in files if yaml.safe_load(file.read_text())["job"] == name]


@pytest.mark.parametrize("name", NAMES)
def test_job_is_run_by_a_test_with_spark(name: str) -> None:
    runs = re.compile(rf"\brun\(\s*{name}\b|\b{name}\.main\(|^from {name} import \w", re.MULTILINE)
    texts = [path.read_text() for path in HERE.glob("test_*.py")]
    assert [text for text in texts if "pytest.mark.spark" in text and runs.search(text)]


@pytest.mark.parametrize("name", NAMES)
def test_job_is_documented(name: str) -> None:
    assert re.search(rf"\b{name}\b", _page(name))


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT_EXPERIMENT))
def test_job_has_an_experiment_that_its_page_shows(name: str) -> None:
    found = _experiments(name)
    assert found, f"examples/ has no experiment with `job: {name}`"
    if name != "svm":  # that of the lecture, which compare prints beside the runs
        page = _page(name)
        assert any(f"emrctl experiment run examples/{file}" in page for file in found)
        assert re.search(r"^\| -", page, re.MULTILINE), f"{name}: no table of results"


@pytest.mark.parametrize("name", sorted(set(NAMES) - LONGER))
def test_job_is_short_enough_to_be_read(name: str) -> None:
    assert (JOBS / f"{name}.py").read_text().count("\n") <= LINES
