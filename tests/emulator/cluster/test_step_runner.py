from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.emulator.cluster import s3_files, step_runner
from emrctl.emulator.cluster.model import EmulatedStep


def step(jar: str, *args: str) -> EmulatedStep:
    return EmulatedStep(
        name="a", action_on_failure="CONTINUE", jar={"Jar": jar, "Args": list(args)}
    )


def test_command_for_each_runner_jar(tmp_path: Path) -> None:
    path = "/usr/bin:/bin"
    argv = step_runner.command(step("command-runner.jar", "bash", "-c", "a; b"), tmp_path, path)
    assert argv is not None
    assert argv[0].endswith("/bash")
    assert argv[1:] == ["-c", "a; b"]
    assert step_runner.command(step("command-runner.jar", "nonesuch"), tmp_path, path) is None
    assert step_runner.command(step("command-runner.jar"), tmp_path, path) is None
    script = tmp_path / "script.sh"
    script.write_text("echo hi")
    uri = "s3://us-east-1.elasticmapreduce/libs/script-runner/script-runner.jar"
    work = tmp_path / "work"
    work.mkdir()
    argv = step_runner.command(step(uri, str(script), "x"), work, path)
    assert argv == ["bash", str(work / "script.sh"), "x"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Traceback (most recent call last):\n  File\nKeyError: 'a'\nlater", "KeyError: 'a'"),
        ("INFO a\norg.x.FileAlreadyExistsException: Output\n\tat b\n", "FileAlreadyExists"),
        ("one\ntwo\n", "one\ntwo"),
        (
            "Traceback (most recent call last):\n  F\nPy4JJavaError: x\n: a.B: no\n\tat c",
            ": a.B: no",
        ),
        ("", ""),
    ],
)
def test_failure_message_returns_cause(text: str, cause: str) -> None:
    assert cause in s3_files.failure_message(text)
    assert "later" not in s3_files.failure_message(text)


def test_applications_returns_ids_in_output() -> None:
    text = b"Submitted application application_12_0001\napplication_12_0001 application_12_0002"
    assert step_runner.applications(text) == ["application_12_0001", "application_12_0002"]
