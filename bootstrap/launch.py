#!/usr/bin/env python3
"""Run a PySpark program with the exact arguments, environment and Spark properties of a submission.

    launch.py --payload-token=PAYLOAD

PAYLOAD is a JSON document, compressed and in URL-safe base64: shells, YARN's launch script and its
template syntax change or execute other characters on the way to a node. The program is in the zip
file `archive`, which spark-submit added to the Python path (--py-files). `packages` is the archive
of a requirements file: only executors and drivers in cluster mode get it from Spark in time.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
import os
import shutil
import sys
import tempfile
import types
import zipfile
import zlib
from pathlib import Path
from typing import Any

FLAG = "--payload-token="


def main(argument: str) -> None:
    """Decode the payload, apply it and run the program as `__main__`."""
    payload = json.loads(zlib.decompress(base64.urlsafe_b64decode(argument[len(FLAG) :])))
    os.environ.update(payload["environment"])
    set_properties(payload["properties"])
    share_environment(payload["executor_environment"])
    if payload["packages"]:
        add_packages(**payload["packages"])
    run(extract(payload["archive"], payload["script"]), payload["arguments"])


def set_properties(properties: dict[str, str]) -> None:
    """Set Spark properties in the driver's JVM; a SparkConf reads them when it is created."""
    if not properties:
        return
    from pyspark import SparkContext

    SparkContext._ensure_initialized()  # noqa: SLF001 - Spark's way to connect without a context
    for name, value in properties.items():
        SparkContext._jvm.java.lang.System.setProperty(name, value)  # noqa: SLF001


def share_environment(environment: dict[str, str]) -> None:
    """Set environment variables of Python workers, which get those of the SparkContext."""
    if not environment:
        return
    from pyspark import SparkContext

    original = SparkContext.__init__

    @functools.wraps(original)
    def create(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.environment.update(environment)

    SparkContext.__init__ = create


def add_packages(uri: str, folder: str, version: str) -> None:
    """Unpack the archive into the working directory and add its packages to the Python path.

    Python workers that Spark starts beside the driver use the same relative path as executors.
    """
    own = "{}.{}".format(*sys.version_info)
    if version != own:
        sys.exit(
            f"The requirements were packed for Python {version}, but this is {sys.executable}, "
            f"Python {own}: submit with --conf spark.pyspark.python=python{own}."
        )
    from pyspark import SparkContext

    SparkContext._ensure_initialized()  # noqa: SLF001
    jvm = SparkContext._jvm  # noqa: SLF001
    with tempfile.TemporaryDirectory() as temporary:
        file = f"{temporary}/packages.tar.gz"
        source, path = jvm.org.apache.hadoop.fs.Path(uri), jvm.org.apache.hadoop.fs.Path(file)
        # Spark's own file systems: EMRFS or S3A, with the credentials of the node.
        spark = jvm.org.apache.spark.deploy.SparkHadoopUtil.get()
        conf = spark.newConfiguration(jvm.org.apache.spark.SparkConf())
        source.getFileSystem(conf).copyToLocalFile(False, source, path, True)
        shutil.unpack_archive(file, folder)
    packages = str(Path(folder, "packages").absolute())
    sys.path.insert(1, packages)
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{packages}:{inherited}" if inherited else packages


def extract(archive: str, script: str) -> Path:
    """Extract the program from its zip file on the Python path into a temporary folder."""
    path = next(path for path in sys.path if Path(path).name == archive)
    folder = tempfile.mkdtemp(prefix="emrctl-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = Path(folder, Path(script).name)
    with zipfile.ZipFile(path) as file:
        program.write_bytes(file.read(script))
    return program


def run(program: Path, arguments: list[str]) -> None:
    """Run the program as Python runs its main file."""
    sys.argv = [str(program), *arguments]
    sys.path[0] = str(program.parent)
    module = types.ModuleType("__main__")
    module.__file__ = str(program)
    sys.modules["__main__"] = module
    exec(compile(program.read_bytes(), str(program), "exec"), module.__dict__)  # noqa: S102


if __name__ == "__main__":
    main(sys.argv[1])
