"""Every job has a test on Spark, a section of the documentation and an experiment."""

from __future__ import annotations

import re

import pytest
import yaml

from emrctl.runs import gallery
from tests.jobs.conftest import HERE, JOBS, ROOT

NAMES = sorted(gallery.scripts())
NOT_OF_THE_COURSE = {"checksum"}  # a tool of `emrctl compare`, documented there
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


@pytest.mark.parametrize("name", sorted(set(NAMES) - NOT_OF_THE_COURSE))
def test_job_has_an_experiment_that_its_page_shows(name: str) -> None:
    found, page = _experiments(name), _page(name)
    assert found, f"examples/ has no experiment with `job: {name}`"
    assert any(f"emrctl experiment run examples/{file}" in page for file in found)
    assert re.search(r"^\| -", page, re.MULTILINE), f"{name}: no table of results"


@pytest.mark.parametrize("name", sorted(set(NAMES) - NOT_OF_THE_COURSE))
def test_job_page_names_its_stages_and_the_setting_that_matters(name: str) -> None:
    page = re.sub(r"\s+", " ", _page(name))
    assert "Spark UI" in page
    assert re.search(r"\bstages?\b|\bshuffles?\b", page)
    assert re.search(r"settings? that matters?|What matters|Which setting matters", page)


def test_experiments_of_pages_have_repeats() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "jobs").glob("*.md"))
    for file in re.findall(r"emrctl experiment run examples/(\w[\w-]*\.yaml)", pages):
        spec = yaml.safe_load((ROOT / "examples" / file).read_text())
        assert spec.get("repeats", 1) >= 2, f"{file}: one run of a configuration is no result"


@pytest.mark.parametrize("name", sorted(set(NAMES) - LONGER))
def test_job_is_short_enough_to_be_read(name: str) -> None:
    assert (JOBS / f"{name}.py").read_text().count("\n") <= LINES
