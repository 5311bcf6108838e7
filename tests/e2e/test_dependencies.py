"""A file, an archive, a JAR and a requirements file that driver and executors of a step get."""

from __future__ import annotations

import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from emrctl.aws.target import Target
from tests.e2e.conftest import SMALL
from tests.wheels import write_requirements, write_wheel

if TYPE_CHECKING:
    from tests.e2e.conftest import Shell

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]

OPTIONS = (
    *("--files", "lookup.csv", "--archives", "data.tar.gz#data", "--jars", "extra.jar"),
    *("--requirements", "requirements.txt"),
)
PROGRAM = """\
import json, sys
import shipped
from pathlib import Path
from pyspark import SparkFiles
from pyspark.sql import SparkSession

def on_worker(_):
    import shipped
    names = "lookup.csv", SparkFiles.get("lookup.csv"), "data/inner.txt"
    return [*(Path(name).read_text() for name in names), shipped.NAME]

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
lookup = Path("lookup.csv" if sys.argv[2] == "cluster" else SparkFiles.get("lookup.csv"))
loader = context._jvm.Thread.currentThread().getContextClassLoader()
texts = {
    "worker": context.parallelize([0], 1).map(on_worker).first(),
    "driver": [lookup.read_text(), shipped.NAME],
    "jar": loader.getResource("marker.txt") is not None,
}
context.parallelize([json.dumps(texts)], 1).saveAsTextFile(sys.argv[1])
"""


def submit_dependencies(
    shell: Shell, target: Target, mode: str, *options: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Submit the program with its dependencies; return the run and what the program found."""
    folder = shell.folder
    (folder / "shipping.py").write_text(PROGRAM)
    (folder / "lookup.csv").write_text("a,b")
    (folder / "inner.txt").write_text("inner")
    with tarfile.open(folder / "data.tar.gz", "w:gz") as archive:
        archive.add(folder / "inner.txt", "inner.txt")
    with zipfile.ZipFile(folder / "extra.jar", "w") as jar:
        jar.writestr("marker.txt", "marker")
    write_wheel(folder / "wheels", "shipped", "NAME = 'shipped 1.0'\n")
    write_requirements(folder, "shipped==1.0")
    [run], _ = shell.submit(
        *options,
        *(*SMALL, "--executors", "1", "--no-dynamic-allocation", *OPTIONS),
        *("--deploy-mode", mode, "shipping.py", "{run}/output/texts", mode),
    )
    assert run["state"] == "COMPLETED"
    key = f"runs/{run['id']}/output/texts/part-00000"
    body = target.client("s3").get_object(Bucket=run["bucket"], Key=key)["Body"].read()
    return run, json.loads(body)


def expect_dependencies(run: dict[str, Any], texts: dict[str, Any]) -> None:
    """Compare what driver and executor found, and what the run's record has."""
    assert texts == {
        "worker": ["a,b", "a,b", "inner", "shipped 1.0"],
        "driver": ["a,b", "shipped 1.0"],
        "jar": True,
    }
    settings = run["settings"]
    assert settings["files"] == ["lookup.csv"]
    assert settings["archives"] == ["data.tar.gz#data"]
    assert settings["requirements"] == "requirements.txt"
    names = [uri.rpartition("/")[2] for uri in run["code"]]
    assert names == [
        *("shipping.py", "lookup.csv", "data.tar.gz#data", "extra.jar", "environment.tar.gz")
    ]


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_submit_on_emr_ships_dependencies(shell: Shell, local: Target, mode: str) -> None:
    expect_dependencies(*submit_dependencies(shell, local, mode))
