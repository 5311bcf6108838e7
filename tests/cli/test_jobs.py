"""`emrctl jobs`, and the help of a job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.answers import Emrctl


def test_jobs_lists_description_and_arguments_of_each_job(typed: Emrctl) -> None:
    code, out, _ = typed("jobs")
    assert code == 0
    lines = out.splitlines()
    at = lines.index("wordcount")
    assert lines[at + 1] == "    Count the words of text files."
    assert lines[at + 2] == "    --input PATH --output PATH [--partitions N]"
    code, out, _ = typed("jobs", "--json")
    jobs = {job["name"]: job for job in json.loads(out)}
    assert {"features", "svm", "classify", "wordcount"} <= set(jobs)
    assert jobs["wordcount"]["arguments"][0]["required"] is True


def test_jobs_copy_suggests_submission_with_packages(typed: Emrctl, tmp_path: Path) -> None:
    code, out, err = typed("jobs", "copy", "classify", "--folder", "mine")
    assert (code, out.split()[0]) == (0, "mine/classify.py")
    assert (tmp_path / "mine" / "features" / "extractors.py").is_file()
    assert "emrctl submit --py-files mine/common --py-files mine/features" in err
    assert typed("jobs", "copy", "classify", "--folder", "mine")[0] == 2
    assert typed("jobs", "copy", "none")[0] == 3


@pytest.mark.parametrize("name", ["wordcount", "words"])
def test_submit_help_after_gallery_job_prints_its_help(
    typed: Emrctl, tmp_path: Path, name: str
) -> None:
    (tmp_path / "emrctl.yaml").write_text("project: pets\njobs: {words: {script: wordcount}}\n")
    code, out, _ = typed("submit", "--executors", "2", name, "--help")
    assert (code, out.splitlines()[0]) == (
        0,
        "usage: wordcount [-h] --input PATH --output PATH [--partitions N]",
    )


def test_submit_help_after_file_is_passed_to_it(typed: Emrctl, tmp_path: Path) -> None:
    (tmp_path / "emrctl.yaml").write_text("project: pets\n")
    (tmp_path / "mine.py").write_text("")
    code, out, err = typed("submit", "mine.py", "--help")
    assert (code, out) == (3, "")
    assert "emrctl up" in err
