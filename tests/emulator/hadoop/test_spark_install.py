"""Which Spark a cluster on localhost runs, and its installation, without PyPI."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emrctl import bundled, paths
from emrctl.emulator.hadoop import hadoop_conf, hadoop_jars, spark_install
from emrctl.errors import EmrctlError
from emrctl.spec import local_spark
from emrctl.spec.local_spark import SparkChoice
from tests.emulator.hadoop.clusters import classification, emulated_cluster

OWN = local_spark.installed_version()
PYTHON = sys.executable
# A pip and a jars.py that create the files instead of downloading them.
PIP = """\
import pathlib, sys
arguments = sys.argv[1:]
if "pip" in arguments:
    target = pathlib.Path(arguments[arguments.index("--target") + 1])
    (target / "pyspark/jars").mkdir(parents=True)
    (target / "pyspark/jars/hadoop-client-api-3.4.2.jar").touch()
    (target / "pip-arguments").write_text(" ".join(arguments))
else:
    pathlib.Path(arguments[2]).mkdir(parents=True, exist_ok=True)
    (pathlib.Path(arguments[2]) / "of").write_text(arguments[1])
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace the Python that runs pip and jars.py by a script; the cache is a new folder."""
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "cache"))

    def replace(text: str) -> None:
        (tmp_path / "script.py").write_text(text)
        program = tmp_path / "python"
        program.write_text(f'#!/bin/sh\nexec "{PYTHON}" "{tmp_path}/script.py" "$@"\n')
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    replace(PIP)
    return replace


def test_choice_of_cluster_reads_release_and_property() -> None:
    assert spark_install.of(emulated_cluster()).version == OWN
    asked = classification("spark-defaults", spark__emrctl__version="4.0.2")
    assert spark_install.of(emulated_cluster(asked)).version == "4.0.2"


def test_ensure_own_version_installs_nothing(
    python: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    python("raise SystemExit(1)")
    jars = hadoop_jars.HadoopJars(Path("/jars"))
    monkeypatch.setattr(hadoop_jars, "ensure", lambda _report: jars)
    spark = spark_install.ensure(SparkChoice(version=OWN), print)
    assert spark.home == hadoop_jars.spark_home()
    assert spark.s3a == "/jars/s3a/*"
    assert spark.credentials_provider == hadoop_conf.SDK_1_CREDENTIALS


def test_ensure_installs_locked_version_with_hashes_once(python: Callable[[str], None]) -> None:
    reports: list[str] = []
    choice = SparkChoice(version="4.1.1")
    spark = spark_install.ensure(choice, reports.append)
    folder = paths.cache() / "spark/4.1.1"
    assert (spark.packages, spark.home) == (folder, folder / "pyspark")
    assert spark.credentials_provider == hadoop_conf.SDK_2_CREDENTIALS
    arguments = (folder / "pip-arguments").read_text()
    assert f"--require-hashes --requirement {local_spark.LOCK_FILE}" in arguments
    digest = hashlib.sha256((bundled.root() / "bootstrap/s3a.lock").read_bytes()).hexdigest()[:16]
    s3a = paths.cache() / f"s3a/3.4.2-{digest}"
    assert spark.s3a == f"{s3a}/*"
    assert (s3a / "of").read_text() == "3.4.2"
    assert list(s3a.parent.iterdir()) == [s3a]
    python("raise SystemExit(1)")  # which no later installation runs
    assert "Downloading Spark 4.1.1 from PyPI" in reports[0]
    reports.clear()
    assert spark_install.ensure(choice, reports.append) == spark
    assert not reports
    assert sorted(path.name for path in folder.parent.iterdir()) == ["4.1.1", "lock"]


def test_ensure_installs_unlocked_version_without_hashes(python: Callable[[str], None]) -> None:
    spark = spark_install.ensure(SparkChoice(version="4.0.2"), print)
    arguments = (spark.packages / "pip-arguments").read_text()
    assert arguments.endswith("pyspark==4.0.2")


def test_ensure_failed_download_leaves_nothing(python: Callable[[str], None]) -> None:
    python("import sys; print('a'); print('no such version', file=sys.stderr); sys.exit(1)")
    with pytest.raises(EmrctlError, match=r"Spark 4\.1\.1 from PyPI: no such version") as raised:
        spark_install.ensure(SparkChoice(version="4.1.1"), print)
    assert str(paths.cache()) in raised.value.hint
    assert [path.name for path in (paths.cache() / "spark").iterdir()] == ["lock"]
