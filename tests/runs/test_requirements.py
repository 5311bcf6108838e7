"""Packages of a requirements file, packed for the nodes' Python."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.errors import UsageError
from emrctl.runs import requirements
from emrctl.runs.requirements import Python
from emrctl.spec import ClusterSpec, Ec2ClusterSpec, SparkSettings
from emrctl.spec.emr import Classification
from emrctl.spec.instance_groups import GroupSpec
from tests.wheels import write_requirements, write_wheel

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
LOCAL = Target(kind="local", region="us-east-1")
AWS = Target(kind="aws", region="us-east-1")
PYTHON = requirements.cluster_python(LOCAL, ClusterSpec(), SparkSettings())
OTHER = Python(command="python3", version="3.6", machine="x86_64", platform="manylinux2014")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "cache"))


def test_pack_creates_python_with_the_packages_of_all_included_files(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "first", "NAME = 'first'")
    write_wheel(tmp_path / "wheels", "second", "NAME = 'second 1.0'")
    write_wheel(tmp_path / "wheels", "second", "NAME = 'second 2.0'", "2.0")
    (tmp_path / "more.txt").write_text("second  # the newest allowed one\n")
    (tmp_path / "limits.txt").write_text("second<2\nunused==9\n")
    path = write_requirements(tmp_path, "first \\", "  >=1", "-r more.txt", "-c limits.txt")
    archive = requirements.pack(path, PYTHON)
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    code = "import first, second; print(first.NAME, second.NAME)"
    command = [str(tmp_path / "bin" / "python"), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "first second 1.0\n"


def test_pack_installs_once_for_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path / "wheels", "first", "NAME = 1")
    path = write_requirements(tmp_path, "first", "pyspark==3.5.9", "pyspark[sql]>=3")
    archive = requirements.pack(path, PYTHON)
    content = archive.read_bytes()
    write_wheel(tmp_path / "wheels", "first", "NAME = 2")
    changed = requirements.pack(path, PYTHON)
    assert changed != archive
    write_wheel(tmp_path / "wheels", "first", "NAME = 1")
    monkeypatch.setattr(requirements, "_install", None)
    (tmp_path / "copy").mkdir()
    assert requirements.pack(path, PYTHON) == archive
    assert archive.read_bytes() == content


@pytest.mark.parametrize("line", ["-e .", "./lib", "../lib.whl", "/lib", "x @ file:///x", "."])
def test_pack_rejects_local_paths_with_their_line(tmp_path: Path, line: str) -> None:
    path = write_requirements(tmp_path, line)
    with pytest.raises(UsageError, match=r"requirements\.txt:3: .* is a local path"):
        requirements.pack(path, PYTHON)


def test_installer_is_found_if_distutils_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Spark loads it; setuptools then warns about every search for the module pip.
    monkeypatch.setitem(sys.modules, "distutils", types.ModuleType("distutils"))
    assert requirements._installer(PYTHON)[:3] == [sys.executable, "-m", "pip"]


def test_pack_reports_the_reason_of_pip(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    path = write_requirements(tmp_path, "absent==1.0")
    with pytest.raises(UsageError, match=r"No matching distribution found for absent==1\.0"):
        requirements.pack(path, PYTHON)
    assert not list((tmp_path / "cache").rglob("*.tar.gz"))
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="cannot read"):
        requirements.pack(path, PYTHON)


def test_pack_for_another_python_runs_uv_or_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_requirements(tmp_path, "first")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"uv is needed .* Python 3\.6 on x86_64") as caught:
        requirements.pack(path, OTHER)
    assert "pip install uv" in caught.value.hint
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "$@" >&2\nexit 1\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"--python-version 3\.6 --python-platform x86"):
        requirements.pack(path, OTHER)


@pytest.mark.parametrize(
    ("spec", "python"),
    [
        (ClusterSpec(), ("python3", "3.9", "x86_64", "manylinux_2_34")),
        (ClusterSpec(release="emr-6.15.0"), ("python3", "3.7", "x86_64", "manylinux2014")),
        (ClusterSpec(release="emr-5.29.0"), ("python3", "3.6", "x86_64", "manylinux2014")),
        (
            ClusterSpec(release="emr-spark-8.1.0"),
            ("python3.11", "3.11", "x86_64", "manylinux_2_34"),
        ),
        (ClusterSpec(release="emr-7.13.0"), ("python3.11", "3.11", "x86_64", "manylinux_2_34")),
        (
            ClusterSpec(core=GroupSpec(type="m6g.xlarge", count=2)),
            ("python3", "3.9", "aarch64", "manylinux_2_34"),
        ),
        (
            ClusterSpec(
                configurations=(
                    Classification(
                        classification="spark-env",
                        configurations=(
                            Classification(
                                classification="export",
                                properties={"PYSPARK_PYTHON": "/usr/bin/python3.11"},
                            ),
                        ),
                    ),
                )
            ),
            ("/usr/bin/python3.11", "3.11", "x86_64", "manylinux_2_34"),
        ),
        (Ec2ClusterSpec(), ("python3", "3.9", "x86_64", "manylinux_2_34")),
        (Ec2ClusterSpec(spark="4.1.0"), ("python3", "3.11", "x86_64", "manylinux_2_34")),
    ],
)
def test_cluster_python_follows_release_type_and_configuration(
    spec: ClusterSpec | Ec2ClusterSpec, python: tuple[str, ...]
) -> None:
    found = requirements.cluster_python(AWS, spec, SparkSettings())
    assert (found.command, found.version, found.machine, found.platform) == python


def test_cluster_python_of_a_step_is_the_one_of_its_property() -> None:
    settings = SparkSettings(conf={"spark.pyspark.python": "python3.12"})
    found = requirements.cluster_python(AWS, ClusterSpec(), settings)
    assert (found.command, found.version) == ("python3.12", "3.12")
    assert (PYTHON.command, PYTHON.version, PYTHON.is_own) == ("python3", OWN, True)
