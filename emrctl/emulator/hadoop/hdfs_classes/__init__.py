"""Classes of HDFS's clients and of its NameNode.

They are compiled on this machine with the compiler that is among the JARs of PySpark, once for
each Hadoop.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from emrctl import paths
from emrctl.emulator.hadoop import hadoop_jars
from emrctl.emulator.hadoop.hadoop_jars import HadoopJars
from emrctl.errors import EmrctlError

#: Connects clients of `hdfs://` to the NameNode of their cluster.
CLIENT = "emrctl.LocalNameNode"
NAME_NODE = "emrctl.FormattedNameNode"
_CLIENT_JARS = ("hadoop-client-api-*.jar", "hadoop-client-runtime-*.jar", "slf4j-api-*.jar")


def client_class_path(spark: Path) -> Path:
    """Return the folder with the class of clients for the Spark in this folder."""
    return _compiled(CLIENT, [jar for one in _CLIENT_JARS for jar in (spark / "jars").glob(one)])


def name_node_class_path(jars: HadoopJars) -> Path:
    """Return the folder with the class of the NameNode."""
    return _compiled(NAME_NODE, sorted(jars.folder.glob("[hy]*/*.jar")))


def _compiled(name: str, jars: Sequence[Path]) -> Path:
    """Return the folder with a class in the cache; compile it with these JARs if necessary."""
    source = Path(__file__).with_name(f"{name.rpartition('.')[2]}.java")
    names = repr([jar.name for jar in jars]).encode()
    digest = hashlib.sha256(names + source.read_bytes()).hexdigest()[:16]
    folder = paths.cache() / "hdfs-classes" / digest
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".compiling-") as work:
            classes = _compile(source, jars, Path(work) / "classes")
            # Another process may have been faster.
            if not folder.is_dir():
                classes.rename(folder)
    return folder


def _compile(source: Path, jars: Sequence[Path], classes: Path) -> Path:
    classes.mkdir()
    command = [
        *hadoop_jars.java(),
        *("-cp", f"{hadoop_jars.spark_home()}/jars/*"),
        "org.codehaus.commons.compiler.samples.CompilerDemo",
        *("-classpath", ":".join(map(str, jars)), "-d", str(classes), str(source)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not (classes / "emrctl" / f"{source.stem}.class").is_file():
        output = (done.stderr or done.stdout).strip()
        raise EmrctlError(f"could not compile {source.name}: {output}")
    return classes
