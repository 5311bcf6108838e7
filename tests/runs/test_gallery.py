"""The jobs that come with emrctl: their arguments and copies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emrctl.errors import NotFoundError, UsageError
from emrctl.runs import gallery


def test_describe_returns_every_script_with_a_line_and_output_argument() -> None:
    jobs = gallery.describe()
    assert {job.name: job.script for job in jobs} == gallery.scripts()
    for job in jobs:
        assert job.description.endswith("."), job.name
        assert "\n" not in job.description
        [output] = [item for item in job.arguments if item.name == "--output"]
        assert output.required
        assert all(item.help for item in job.arguments), job.name


def test_describe_without_packages_returns_help_that_the_job_prints() -> None:
    [job] = gallery.describe(["svm"])
    command = [sys.executable, str(job.script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert job.help == done.stdout


def test_argument_usage_shows_value_choices_and_brackets() -> None:
    [job] = gallery.describe(["svm"])
    usage = {item.name: item.usage for item in job.arguments}
    assert usage["--features"] == "--features PATH"
    assert usage["--seed"] == "[--seed N]"
    assert usage["--average"] == "[--average]"
    assert usage["--task"] == "--task pairs|one-vs-all|both"
    [task] = [item for item in job.arguments if item.name == "--task"]
    assert (task.default, list(task.choices or ())) == (None, ["pairs", "one-vs-all", "both"])


def test_describe_unknown_job_suggests_a_name() -> None:
    with pytest.raises(NotFoundError, match="no job is called 'wordcont'") as error:
        gallery.describe(["wordcont"])
    assert "Did you mean 'wordcount'?" in error.value.hint


def test_copy_writes_job_and_imported_packages_that_run(tmp_path: Path) -> None:
    copies = gallery.copy("svm", tmp_path / "mine")
    assert [path.name for path in copies] == ["svm.py", "common", "svm"]
    assert not list(tmp_path.rglob("__pycache__"))
    command = [sys.executable, "-P", str(copies[0]), "--help"]
    environment = {"PYTHONPATH": str(tmp_path / "mine"), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == gallery.describe(["svm"])[0].help


def test_copy_existing_package_is_rejected_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    with pytest.raises(UsageError, match="common exists"):
        gallery.copy("svm", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["common"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"copying svm to .* failed"):
        gallery.copy("svm", tmp_path / "file" / "x")
