"""File names, arguments, environment and Spark properties that reach a program unchanged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from emrctl.aws.target import Target
from tests.e2e.conftest import SMALL

if TYPE_CHECKING:
    from tests.e2e.conftest import Shell

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]

SCRIPT, MODULE = "my job, 50%#1 größe.py", "größe.py"
ARGUMENTS = (
    '{"a":{"b":1}}', "`id`", "{{X}}", "$HOME", "$(id)", "", " a ", "a\nb", "a\rb", "\t", "'", '"',
    "\\n", "größe 日本", "<CPS>", "--password", "a&b;c|d>e", "*", "application_1_0005", "--last=",
)  # fmt: skip
TEXT = ' {"a":{"b":1}} `id` {{X}} $HOME \'q\' \\ größe\n '
PROGRAM = """\
import json, os, sys
from pathlib import Path
from pyspark.sql import SparkSession

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

def variable_of(pid, name):
    for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\\0"):
        if item.startswith(name.encode() + b"="):
            return item.decode().partition("=")[2]

def on_worker(_):
    import größe
    executor = parent(os.getppid())  # the JVM has started the daemon of this process
    return größe.NAME, os.environ["NASTY"], os.environ["PLAIN"], variable_of(executor, "NASTY")

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
texts = {
    "file": Path(__file__).name,
    "program": Path(sys.argv[0]).name,
    "arguments": sys.argv[2:],
    "driver": [os.environ["NASTY"], os.environ["PLAIN"]],
    "worker": context.parallelize([0], 1).map(on_worker).first(),
    "property": spark.conf.get("spark.test.nasty"),
    "application": spark.conf.get("spark.app.name"),
}
context.parallelize([json.dumps(texts)], 1).saveAsTextFile(sys.argv[1])
"""


def submit_texts(shell: Shell, target: Target, *options: str) -> dict[str, Any]:
    """Submit the program with every text, and return the texts that it received."""
    (shell.folder / SCRIPT).write_text(PROGRAM)
    (shell.folder / MODULE).write_text("NAME = __name__\n")
    [run], _ = shell.submit(
        *options,
        *(*SMALL, "--executors", "1", "--no-dynamic-allocation", "--py-files", MODULE),
        *("--env", f"NASTY={TEXT}", "--env", "PLAIN=1", "--conf", f"spark.test.nasty={TEXT}"),
        *(f"./{SCRIPT}", "{run}/output/texts", *ARGUMENTS),
    )
    assert run["state"] == "COMPLETED"
    s3 = target.client("s3")
    key = f"runs/{run['id']}/output/texts/part-00000"
    document: dict[str, Any] = json.loads(
        s3.get_object(Bucket=run["bucket"], Key=key)["Body"].read()
    )
    return document


def expect_exact(texts: dict[str, Any]) -> None:
    """Compare each text with the one that was submitted."""
    assert texts["file"] == texts["program"] == SCRIPT
    assert texts["arguments"] == list(ARGUMENTS)
    assert texts["driver"] == [TEXT, "1"]
    assert texts["worker"] == ["größe", TEXT, "1", TEXT]
    assert texts["property"] == TEXT


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_submit_on_emr_passes_texts_unchanged(shell: Shell, local: Target, mode: str) -> None:
    texts = submit_texts(shell, local, "--deploy-mode", mode)
    expect_exact(texts)
    assert texts["application"] == SCRIPT.removesuffix(".py")
