"""The filter of Spark's pages on localhost: only their own user may read them.

It is compiled on this machine with the compiler that is among the JARs of PySpark, once.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from emrctl import paths
from emrctl.emulator.hadoop import hadoop_jars
from emrctl.errors import EmrctlError

CLASS = "emrctl.LocalUserFilter"
SOURCES = Path(__file__).parent
_COMPILE = SOURCES / "compile.sh"


def class_path(spark: Path) -> Path:
    """Return the folder with the classes for the Spark in this folder; compile them if necessary.

    Spark 4 has another servlet API than Spark 3.
    """
    api = sorted(item.name for item in (spark / "jars").glob("*servlet-api-*.jar"))
    digest = hashlib.sha256(repr(api).encode())
    for source in (*sorted(SOURCES.glob("*.java")), _COMPILE):
        digest.update(source.read_bytes())
    folder = paths.cache() / "ui-filter" / digest.hexdigest()[:16]
    if not folder.is_dir():
        homes = (spark, hadoop_jars.spark_home(), hadoop_jars.java_home())
        command = ["bash", str(_COMPILE), *map(str, homes), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            output = (done.stderr or done.stdout).strip()
            raise EmrctlError(f"could not compile the filter of Spark's pages: {output}")
    return folder
