"""Options of `emrctl submit`: readable help, and settings parsed from the generated options."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from emrctl.cli import submit
from emrctl.errors import UsageError
from emrctl.runs.submission import Submission
from emrctl.spec import SparkSettings


def test_submit_help_at_80_columns_has_one_whole_line_per_option() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emrctl.cli", "submit", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "80", "PATH": ""},
    )
    assert "…" not in done.stdout.replace("s3://…", "")
    panels = re.findall(r"╭─ (.*?) ─+╮\n(.*?)\n╰", done.stdout, re.DOTALL)
    titles = [title for title, _ in panels]
    assert [title for title in titles if title.endswith("options")] == [
        "Spark options",
        "Staging options",
        "Following options",
        "Common options",
    ]
    for title, body in panels:
        if title.endswith("options"):
            assert all(line.startswith("│ --") for line in body.split("\n")), body
            assert all(line.rstrip(" │").endswith(".") for line in body.split("\n")), body
    for name in SparkSettings.options():
        assert f"--{name.replace('_', '-')} " in done.stdout


def _submitted(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Submission:
    submitted: list[Submission] = []

    def record(
        _workspace: object, submission: Submission, *_: object, **__: object
    ) -> list[object]:
        submitted.append(submission)
        return []

    monkeypatch.setattr("emrctl.cli.follow.submit", record)
    monkeypatch.setattr("emrctl.cli.options.Context.workspace", None)
    monkeypatch.setattr("emrctl.cli.submit.print_runs", lambda *_, **__: None)
    submit.app(args=["submit", *arguments], standalone_mode=False)
    return submitted[0]


def test_submit_parses_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "executors": 5,
        "executor_cores": 2,
        "executor_memory": "4g",
        "memory_overhead": "1g",
        "driver_memory": "2g",
        "partitions": 24,
        "dynamic_allocation": True,
        "min_executors": 0,
        "max_executors": 9,
        "deploy_mode": "cluster",
        "files": ("a.csv", "b.csv", "c.csv"),
        "archives": ("env.tar.gz#environment",),
        "jars": ("a.jar",),
        "packages": ("g:a:1",),
        "requirements": "requirements.txt",
        "conf": {"spark.a": "b=c"},
    }
    assert set(given) == set(SparkSettings.options())
    flags = ["--dynamic-allocation", "--conf", "spark.a=b=c", "--files", "a.csv,b.csv"]
    flags += ["--files", "c.csv"]
    for name, value in given.items():
        if isinstance(value, tuple) and name != "files":
            flags += [f"--{name}", *value]
        elif name not in {"dynamic_allocation", "conf", "files"}:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    found = _submitted(monkeypatch, *flags, "svm", "--executors", "7")
    assert found.settings == SparkSettings.model_validate(given)
    assert (found.job, list(found.arguments)) == ("svm", ["--executors", "7"])


def test_submit_with_no_dynamic_allocation_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _submitted(monkeypatch, "--no-dynamic-allocation", "svm")
    assert found.settings == SparkSettings(dynamic_allocation=False)
    assert _submitted(monkeypatch, "svm").settings == SparkSettings()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--executors", "0"], "--executors: input should be greater than or equal to 1"),
        (["--executors", "x"], "--executors: input should be a valid integer"),
        (["--deploy-mode", "x"], "--deploy-mode: input should be 'client' or 'cluster'"),
        (["--conf", "x"], "--conf x: expected KEY=VALUE"),
        (["--min-executors", "3", "--max-executors", "2"], "options: min_executors is 3"),
    ],
)
def test_submit_rejects_invalid_settings(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        submit.app(args=["submit", *flags, "svm"], standalone_mode=False)


def test_submit_rejects_a_switch_that_is_both_on_and_off(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("--dynamic-allocation", "--no-dynamic-allocation", "wordcount")
    with pytest.raises(UsageError, match="--dynamic-allocation and --no-dynamic-allocation"):
        _submitted(monkeypatch, *flags)


def test_submit_env_without_value_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PWD", "x=$y")
    submission = _submitted(monkeypatch, "--env", "DB_PWD", "--env", "A=", "svm")
    assert submission.environment == {"DB_PWD": "x=$y", "A": ""}
    monkeypatch.delenv("DB_PWD")
    with pytest.raises(UsageError, match="--env DB_PWD: the variable is not set"):
        _submitted(monkeypatch, "--env", "DB_PWD", "svm")


def test_submit_secret_is_a_name_or_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    submission = _submitted(
        monkeypatch, "--secret", "DB_PWD", "--secret", "SALT=ssm:/prod/salt#a", "svm"
    )
    assert submission.secrets == {"DB_PWD": "DB_PWD", "SALT": "ssm:/prod/salt#a"}
