"""Arguments, environment and Spark properties, encoded for YARN's launch script."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from emrctl import bundled, redact
from emrctl.errors import UsageError
from emrctl.runs.backends import launcher, spark_submit
from emrctl.runs.backends.launcher import Program
from emrctl.runs.secrets import RunSecrets
from emrctl.spec import SparkSettings

UNSAFE = (
    '{"a":{"b":1}}', "`id`", "{{X}}", "$HOME", "${HOME}", "$(id)", "", "a\nb", "a\r", "\t",
    "'", '"', "\\", "\\n", "größe", "日本", "<CPS>", "a&b;c|d>e", "\udcff",
)  # fmt: skip
SAFE = (
    *("a", "--from=2024-01-01", "s3://b/a b/*", "50%", "a,b", "x@y", "[1, 2]", "~"),
    *("-x", "--a=b c", "a&b;c|d"),
)
NASTY = (*UNSAFE, *SAFE, " ", " a ", "{{", "<LOG_DIR>", "!!", "\x01\x7f")
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
        f"spark.executorEnv.NASTY={launcher.shell_literal('`id`')}",
        f"spark.yarn.appMasterEnv.NASTY={launcher.shell_literal('`id`')}",
    }
    assert _payload(command) == {
        "archive": "emrctl-program.zip",
        "script": "main-file/my job.py",
        "packages": {},
        "arguments": list(NASTY),
        "properties": {"spark.x": " a "},
        "environment": {"NASTY": "`id`"},
        "executor_environment": {"NASTY": "`id`"},
        "secret_values": {},
        "secrets": {},
        "region": "",
    }
    assert command[-1].isascii()
    assert redact.arguments(command[-1:]) == (f"--payload-token={redact.REDACTED}",)


@pytest.mark.parametrize("value", [*NASTY, "".join(item for item in NASTY if item != "\udcff")])
def test_shell_literal_in_yarns_launch_script_sets_value(value: str) -> None:
    literal = launcher.shell_literal(value)
    assert literal.isascii()
    assert not re.search(r"\{\{|\}\}|<|^ | $|\n", literal)
    script = f'export X="{literal}"\nprintf %s "$X"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout == value.encode("utf-8", "surrogateescape")


def test_command_on_standalone_keeps_environment_as_it_is() -> None:
    program = Program(script="s3://b/my_job.py", environment={"NASTY": "$x größe"})
    command = spark_submit.command(program, SparkSettings(), {}, "spark://h:7077", FILES)
    assert "spark.executorEnv.NASTY=$x größe" in command
    assert "NASTY=$x größe" in command


def test_command_with_secrets_contains_none_of_them() -> None:
    secrets = RunSecrets({"USER_NAME": "s3cret"}, {"OTHER": "prod/db"})
    program = Program(
        script="s3://b/my_job.py",
        arguments=("--password", "s3cret"),
        environment={"DB_PWD": "s3cret", "PLAIN": "1"},
        secrets=secrets,
    )
    settings = SparkSettings(conf={"spark.hadoop.fs.azure.account.key.x": "s3cret"})
    files = replace(FILES, payload_uri="s3://b/private/1.json", region="eu-central-1")
    properties = spark_submit.properties(program, settings, {})
    assert launcher.find_private(program, properties) == "USER_NAME"
    command = spark_submit.command(program, settings, {}, launcher=files)
    assert "s3cret" not in " ".join(command)
    assert command[:3] == ("env", "PLAIN=1", "spark-submit")
    assert command[-1] == "--payload-uri=s3://b/private/1.json"
    assert json.loads(files.payload(program, properties)) == {
        "archive": "emrctl-program.zip",
        "script": "main-file/my job.py",
        "packages": {},
        "arguments": ["--password", "s3cret"],
        "properties": {"spark.hadoop.fs.azure.account.key.x": "s3cret"},
        "environment": {"DB_PWD": "s3cret"},
        "executor_environment": {"DB_PWD": "s3cret"},
        "secret_values": {"USER_NAME": "s3cret"},
        "secrets": {"OTHER": "prod/db"},
        "region": "eu-central-1",
    }


def test_properties_hide_secrets_of_this_run_in_spark() -> None:
    conf = {
        "spark.my.license-key": "x",
        "spark.a": "AKIAIOSFODNN7EXAMPLE",
        "spark.hadoop.fs.azure.account.key.x": "y",
        "spark.b": "1",
    }
    properties = spark_submit.properties(Program(script="x"), SparkSettings(conf=conf), {})
    pattern = re.compile(properties["spark.redaction.regex"])
    assert [name for name in (*conf, "spark.app.name") if pattern.search(name)] == [*conf][:3]
    assert pattern.search("fs.azure.account.key.x")  # as a property of Hadoop
    assert pattern.search("spark.hadoop.fs.s3a.secret.key")
    plain = spark_submit.properties(Program(script="x"), SparkSettings(conf={"spark.b": "1"}), {})
    assert "spark.redaction.regex" not in plain


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.driver.extraJavaOptions", "-Ddb.password=x"),
        ("spark.executor.extraJavaOptions", "-Dx=1 -Djavax.net.ssl.trustStorePassword=x"),
        ("spark.jars.repositories", "https://me:hunter2@repo.example/maven"),
        ("spark.yarn.am.extraJavaOptions", "-Dtoken=x"),
    ],
)
def test_find_private_rejects_secret_that_only_a_command_line_passes(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{name} contains a secret"):
        launcher.find_private(Program(script="x"), {name: value})


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
        Program(script="x", arguments=NASTY), {"spark.yarn.appMasterEnv.NASTY": "`id`\n"}, yarn=True
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
    encoded, _ = files.encode(Program(script="x"), {}, yarn=True)
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
