"""Installations of Spark on this machine: the one of emrctl's Python, and others in the cache.

A version is downloaded from PyPI when the first cluster needs it, with checksums if spark.lock has
it, and with the S3A JARs of its Hadoop (bootstrap/s3a.lock).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emrctl import bundled, paths
from emrctl.aws.spark_conf import VERSION_PROPERTY
from emrctl.emulator.cluster.model import EmulatedCluster
from emrctl.emulator.hadoop import hadoop_conf, hadoop_jars
from emrctl.emulator.hadoop.hadoop_jars import Report
from emrctl.errors import EmrctlError
from emrctl.spec import local_spark
from emrctl.spec.local_spark import SparkChoice

_FIRST_SDK_2 = (3, 4)
_PIP_TIMEOUT_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class SparkInstallation:
    """A Spark on this machine; `packages` is its folder of Python packages, `s3a` a class path."""

    version: str
    packages: Path
    s3a: str

    @property
    def home(self) -> Path:
        """`SPARK_HOME`: the folder of PySpark, which is a complete Spark."""
        return self.packages / "pyspark"

    @property
    def credentials_provider(self) -> str:
        """S3A's class that reads the credentials file."""
        newer = local_spark.numbers(_hadoop(self.home))[:2] >= _FIRST_SDK_2
        return hadoop_conf.SDK_2_CREDENTIALS if newer else hadoop_conf.SDK_1_CREDENTIALS


def of(cluster: EmulatedCluster) -> SparkChoice:
    """Return the version that a cluster runs."""
    asked = hadoop_conf.classification(cluster, "spark-defaults").get(VERSION_PROPERTY)
    return local_spark.choose(cluster.request["ReleaseLabel"], asked)


def packages_folder(version: str) -> Path:
    """Return the folder of a Spark's Python packages; it exists once the version is installed."""
    if version == local_spark.installed_version():
        return hadoop_jars.spark_home().parent
    return paths.cache() / "spark" / version


def ensure(choice: SparkChoice, report: Report) -> SparkInstallation:
    """Return the installation; download it and its S3A JARs first if they are not in the cache."""
    packages = packages_folder(choice.version)
    if choice.version == local_spark.installed_version():
        s3a = hadoop_jars.ensure(report).s3a
        return SparkInstallation(version=choice.version, packages=packages, s3a=s3a)
    with hadoop_jars.lock(packages.parent):
        if not packages.is_dir():
            _install(choice.version, packages, report)
        hadoop = _hadoop(packages / "pyspark")
        folder = _s3a_folder(hadoop)
        if not folder.is_dir():
            _install_s3a(hadoop, folder)
    return SparkInstallation(version=choice.version, packages=packages, s3a=f"{folder}/*")


def _install(version: str, folder: Path, report: Report) -> None:
    report(f"Downloading Spark {version} from PyPI (about 450 MB, first use only).")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as name:
        # The build of pyspark's wheel needs several times its size, and /tmp can be small.
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-cache-dir"),
            *("--disable-pip-version-check", "--no-build-isolation"),
            *("--target", f"{name}/packages"),
            *_requirements(version),
        ]
        _run(command, f"could not install Spark {version} from PyPI", temporary=name)
        (Path(name) / "packages").rename(folder)
    report(f"Spark {version} is in {folder}.")


def _requirements(version: str) -> list[str]:
    """Return pip's arguments: the locked packages with their hashes, or an unlocked version."""
    if f"pyspark=={version} " in local_spark.LOCK_FILE.read_text(encoding="utf-8"):
        return ["--require-hashes", "--requirement", str(local_spark.LOCK_FILE)]
    return [f"pyspark=={version}"]


def _s3a_folder(hadoop: str) -> Path:
    """Return the folder of the S3A JARs of a Hadoop, as s3a.lock has them."""
    lock_file = bundled.root() / "bootstrap/s3a.lock"
    digest = hashlib.sha256(lock_file.read_bytes()).hexdigest()[:16]
    return paths.cache() / "s3a" / f"{hadoop}-{digest}"


def _install_s3a(hadoop: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as name:
        program = bundled.root() / "bootstrap/jars.py"
        command = [sys.executable, str(program), hadoop, f"{name}/jars"]
        _run(command, f"could not install the S3A JARs of Hadoop {hadoop}")
        (Path(name) / "jars").rename(folder)


def _run(command: Sequence[str], error: str, temporary: str | None = None) -> None:
    """Run a command; raise `EmrctlError` with its last line if it fails."""
    environment = None if temporary is None else {**os.environ, "TMPDIR": temporary}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PIP_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise EmrctlError(
            f"{error}: {lines[-1].strip()}",
            hint=f"Check the network and the proxy, or copy {paths.cache()} from another machine.",
        )


def _hadoop(home: Path) -> str:
    """Return the version of the Hadoop client among Spark's JARs."""
    jar = next((home / "jars").glob("hadoop-client-api-*.jar"))
    return jar.stem.removeprefix("hadoop-client-api-")
