"""The filter of Spark's pages on localhost: only their own user may read them.

It is compiled on this machine with the compiler that is among the JARs of PySpark, once.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

from emrctl import paths
from emrctl.emulator.hadoop import hadoop_jars
from emrctl.errors import EmrctlError

CLASS = "emrctl.LocalUserFilter"
SOURCES = Path(__file__).parent
_COMPILE = SOURCES / "compile.sh"


def class_path(spark: Path) -> Path:
    """Return the JAR with the classes for the Spark in this folder; compile them if necessary.

    Spark 4 has another servlet API than Spark 3.
    """
    api = sorted(item.name for item in (spark / "jars").glob("*servlet-api-*.jar"))
    digest = hashlib.sha256(repr(api).encode())
    for source in (*sorted(SOURCES.glob("*.java")), _COMPILE):
        digest.update(source.read_bytes())
    jar = paths.cache() / "ui-filter" / f"{digest.hexdigest()[:16]}.jar"
    if not jar.is_file():
        jar.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=jar.parent, prefix=".compiling-") as work:
            hadoop_jars.pack(_compile(spark, Path(work) / "classes"), jar)
    return jar


def _compile(spark: Path, classes: Path) -> Path:
    homes = (spark, hadoop_jars.spark_home(), hadoop_jars.java_home())
    command = ["bash", str(_COMPILE), *map(str, homes), str(classes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip()
        raise EmrctlError(f"could not compile the filter of Spark's pages: {output}")
    return classes
