#!/usr/bin/env python3
"""Run a PySpark program with the exact arguments, environment and Spark properties of a submission.

    launch.py --payload-token=PAYLOAD | --payload-uri=URI

PAYLOAD is a JSON document, compressed and in URL-safe base64: shells, YARN's launch script and its
template syntax change or execute other characters on the way to a node. A document with secrets is
an object at URI instead, as command lines can be read by others. The program is in the zip file
`archive`, which spark-submit added to the Python path (--py-files). `packages` is the archive of a
requirements file: only executors and drivers in cluster mode get it from Spark in time.

`secrets` are variables and their sources: names or ARNs of Secrets Manager, or `ssm:NAME` or ARNs
of Parameter Store, each with `#KEY` for one value of a JSON object. Their values, like the secrets
among `environment`, are variables of the Python driver and Python workers, and of nothing else.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import types
import zipfile
import zlib
from pathlib import Path
from typing import Any

FLAG, URI_FLAG = "--payload-token=", "--payload-uri="


def main(argument: str) -> None:
    """Decode the payload, apply it and run the program as `__main__`."""
    payload = json.loads(read_payload(argument))
    region = payload["region"]
    secrets: dict[str, str] = payload["secret_values"]
    for name, source in payload["secrets"].items():
        secrets[name] = read_secret(name, source, region)
    os.environ.update(payload["environment"])
    os.environ.update(secrets)
    set_properties(payload["properties"])
    share_environment({**payload["executor_environment"], **secrets})
    if payload["packages"]:
        add_packages(**payload["packages"])
    run(extract(payload["archive"], payload["script"]), payload["arguments"])


def read_payload(argument: str) -> bytes:
    """Return the JSON document of the argument, or of the object that it names."""
    if argument.startswith(FLAG):
        return zlib.decompress(base64.urlsafe_b64decode(argument[len(FLAG) :]))
    with tempfile.TemporaryDirectory() as folder:  # of mode 700
        file = Path(folder, "payload")
        copy_from_s3(argument[len(URI_FLAG) :], str(file))
        return file.read_bytes()


def read_secret(name: str, source: str, region: str) -> str:
    """Return a secret's value, which is never part of a command line; exit if there is none."""
    where, _, key = source.partition("#")
    if where.startswith("arn:"):
        region = where.split(":")[3]
    try:
        if where.startswith("ssm:") or ":ssm:" in where:
            own = where[4:] if where.startswith("ssm:") else where  # noqa: FURB188 - Python 3.7
            answer = call_aws("ssm", "get_parameter", region, Name=own, WithDecryption=True)
            value = answer["Parameter"]["Value"]
        else:
            answer = call_aws("secretsmanager", "get_secret_value", region, SecretId=where)
            value = answer["SecretString"]
        return str(json.loads(value)[key]) if key else value
    except (KeyError, ValueError):
        sys.exit(f"cannot read the secret {name} from {source}: it has no such text")


def call_aws(service: str, operation: str, region: str, **arguments: object) -> dict[str, Any]:
    """Return the response of AWS, by boto3 or else the AWS CLI of EMR's nodes; exit if it fails."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        command = ["aws", service, operation.replace("_", "-"), "--region", region]
        command += ["--output", "json", "--cli-input-json", json.dumps(arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{service} {operation}: {done.stderr.strip()}")
        response: dict[str, Any] = json.loads(done.stdout)
        return response
    try:
        connect: Any = boto3.client
        return dict(getattr(connect(service, region_name=region), operation)(**arguments))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"{service} {operation} {arguments}: {error}")


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
    with tempfile.TemporaryDirectory() as temporary:
        file = f"{temporary}/packages.tar.gz"
        copy_from_s3(uri, file)
        shutil.unpack_archive(file, folder)
    packages = str(Path(folder, "packages").absolute())
    sys.path.insert(1, packages)
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{packages}:{inherited}" if inherited else packages


def copy_from_s3(uri: str, file: str) -> None:
    """Copy an object by Spark's own file systems: EMRFS or S3A, with the node's credentials."""
    from pyspark import SparkContext

    SparkContext._ensure_initialized()  # noqa: SLF001
    jvm = SparkContext._jvm  # noqa: SLF001
    source, path = jvm.org.apache.hadoop.fs.Path(uri), jvm.org.apache.hadoop.fs.Path(file)
    spark = jvm.org.apache.spark.deploy.SparkHadoopUtil.get()
    conf = spark.newConfiguration(jvm.org.apache.spark.SparkConf())
    source.getFileSystem(conf).copyToLocalFile(False, source, path, True)


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
