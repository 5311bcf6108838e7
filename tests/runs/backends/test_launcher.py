"""Arguments, environment and Spark properties, encoded for YARN's launch script."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from emrctl import bundled, redact
from emrctl.errors import UsageError
from emrctl.runs.backends import launcher, spark_submit
from emrctl.runs.backends.launcher import Program
from emrctl.spec import SparkSettings

UNSAFE = (
    '{"a":{"b":1}}', "`id`", "{{X}}", "$HOME", "${HOME}", "$(id)", "", "a\nb", "a\r", "\t",
    "'", '"', "\\", "\\n", "größe", "日本", "<CPS>", "a&b;c|d>e", "\udcff",
)  # fmt: skip
SAFE = (
    *("a", "--from=2024-01-01", "s3://b/a b/*", "50%", "a,b", "x@y", "[1, 2]", "~", " ", " a "),
    *("-x", "--a=b c", "a&b;c|d"),
)
NASTY = (*UNSAFE, *SAFE)
FILES = launcher.Launcher(uri="s3://b/launch.py", archive="s3://b/z.zip", script="my job.py")


def _payload(command: tuple[str, ...]) -> dict[str, object]:
    packed = command[-1].removeprefix("--payload-token=")
    document: dict[str, object] = json.loads(zlib.decompress(base64.urlsafe_b64decode(packed)))
    return document


@pytest.mark.parametrize("text", SAFE)
def test_find_unsafe_accepts_texts_that_no_shell_changes(text: str) -> None:
    assert not launcher.find_unsafe([text], {"spark.executorEnv.A": text})


@pytest.mark.parametrize("text", UNSAFE)
def test_find_unsafe_names_argument(text: str) -> None:
    assert launcher.find_unsafe(["a", text], {}) == f"argument 2 ({text!r})"


@pytest.mark.parametrize("text", [" a", "a ", "a\nb", "a\r", "größe", "\t"])
def test_find_unsafe_names_property_that_spark_submit_changes(text: str) -> None:
    assert launcher.find_unsafe([], {"spark.a": "b", "spark.x": text}) == "spark.x"


@pytest.mark.parametrize("text", ["`id`", "$X", '"', "\\", "{{X}}", "a\nb", "größe"])
def test_find_unsafe_names_environment_that_yarn_changes(text: str) -> None:
    name = "spark.executorEnv.A"
    assert launcher.find_unsafe([], {name: text}) == name


def test_command_with_launcher_encodes_unsafe_texts_only() -> None:
    program = Program(
        script="s3://b/my_job.py",
        arguments=NASTY,
        environment={"SAFE": "1", "NASTY": "`id`"},
    )
    settings = SparkSettings(deploy_mode="cluster", conf={"spark.x": " a ", "spark.y": "{{X}}"})
    command = spark_submit.command(program, settings, {}, launcher=FILES)
    assert command[-2] == "s3://b/launch.py"
    assert command[command.index("--py-files") + 1] == "s3://b/z.zip"
    assert {item for item in command if "Env." in item} == {
        "spark.executorEnv.SAFE=1",
        "spark.yarn.appMasterEnv.SAFE=1",
    }
    assert _payload(command) == {
        "archive": "emrctl-program.zip",
        "script": "main-file/my job.py",
        "packages": {},
        "arguments": list(NASTY),
        "properties": {"spark.x": " a "},
        "environment": {"NASTY": "`id`"},
        "executor_environment": {"NASTY": "`id`"},
    }
    assert command[-1].isascii()
    assert redact.arguments(command[-1:]) == (f"--payload-token={redact.REDACTED}",)


@pytest.mark.parametrize(
    ("environment", "conf", "message"),
    [
        ({"A.B": "1"}, {}, "'A.B' is not a name of an environment variable"),
        ({}, {"myprop": "1"}, "Spark ignores the property 'myprop'"),
        ({}, {"spark.executor.extraJavaOptions": "-Da=`id`"}, "cannot contain '`'"),
        ({}, {"spark.driver.extraJavaOptions": "-Da={{X}}"}, "cannot contain '{{'"),
    ],
)
def test_command_rejects_names_and_values_that_cannot_arrive(
    environment: dict[str, str], conf: dict[str, str], message: str
) -> None:
    program = Program(script="a.py", environment=environment)
    with pytest.raises(UsageError, match=message):
        spark_submit.command(program, SparkSettings(conf=conf), {})


@pytest.mark.parametrize("key", ["my job.py", "50%.py", "run#1.py", "a,b.py", "größe.py", "a?.py"])
def test_check_uri_rejects_keys_that_spark_submit_changes(key: str) -> None:
    with pytest.raises(UsageError, match="spark-submit cannot open"):
        launcher.check_uri(f"s3://bucket/{key}")
    launcher.check_uri(f"/local/{key}")
    launcher.check_uri("s3://bucket/code/job-1_(a).py")


def test_launch_script_runs_program_with_exact_texts(tmp_path: Path) -> None:
    program = (
        "import json, os, sys\nfrom pathlib import Path\n"
        "assert __name__ == '__main__' and sys.modules['__main__'].__dict__ is globals()\n"
        "print(json.dumps([sys.argv[1:], os.environ['NASTY'], Path(__file__).name]))\n"
        "raise SystemExit(7)\n"
    )
    archive = tmp_path / launcher.ARCHIVE
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("main-file/größe 1.py", program)
    files = launcher.Launcher(uri="launch.py", archive=str(archive), script="größe 1.py")
    encoded, _ = files.encode(
        Program(script="x", arguments=NASTY), {"spark.yarn.appMasterEnv.NASTY": "`id`\n"}, "cluster"
    )
    done = subprocess.run(
        [sys.executable, bundled.root() / "bootstrap" / "launch.py", *encoded.arguments],
        env={**os.environ, "PYTHONPATH": str(archive)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout) == [list(NASTY), "`id`\n", "größe 1.py"]


def test_launch_script_imports_package_with_the_name_of_the_program(tmp_path: Path) -> None:
    archive, package = tmp_path / launcher.ARCHIVE, tmp_path / "svm"
    package.mkdir()
    (package / "__init__.py").write_text("")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("main-file/svm.py", (bundled.root() / "jobs" / "svm.py").read_text())
    (package / "study.py").write_text("def main() -> int:\n    return 3\n")
    files = launcher.Launcher(uri="launch.py", archive=str(archive), script="svm.py")
    encoded, _ = files.encode(Program(script="x"), {}, "client")
    done = subprocess.run(
        [sys.executable, bundled.root() / "bootstrap" / "launch.py", *encoded.arguments],
        env={**os.environ, "PYTHONPATH": f"{archive}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr


def test_launch_script_rejects_packages_of_another_python() -> None:
    code = "import launch; launch.add_packages(uri='s3://b/x', folder='x', version='2.7')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=bundled.root() / "bootstrap",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "packed for Python 2.7, but this is" in done.stderr
    assert "--conf spark.pyspark.python=python3" in done.stderr
