"""Planted secrets reach the program, and are in no file, process list, object or output."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
import yaml

from emrctl.aws.s3 import PRIVATE_PREFIX
from emrctl.aws.target import Target
from emrctl.metrics.eventlog import codecs
from tests.e2e.conftest import SMALL

if TYPE_CHECKING:
    from tests.e2e.conftest import Shell

pytestmark = [pytest.mark.yarn, pytest.mark.timeout(600)]

CANARY = "Zq7Xk"
SPARK_CONF = ("__spark_hadoop_conf__.xml", "__spark_conf__.properties")
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}0+/=\n-----END RSA PRIVATE KEY-----\n"
VARIABLES = {
    "DB_PWD": f"{CANARY}1 $(id) größe",
    "PRIVATE_KEY": PEM,
    "DATABASE_URL": f"postgres://me:{CANARY}2@db.example/x",
    "CLOUD_KEY": "AKIAZQ7XK33333333333",
}
CALLERS = {"SMTP_PASS": f"{CANARY}4", "API_USER": f"{CANARY}5"}
PROPERTIES = {
    "spark.hadoop.fs.azure.account.key.x": f"{CANARY}6==",
    "spark.my.passphrase": f"{CANARY}7",
    "spark.my.url": f"jdbc:postgresql://h/db?user=u&password={CANARY}8",
}
ARGUMENTS = ("--password", f"{CANARY}9", f"api_key={CANARY}10")
STORED = {"password": f"{CANARY}11"}
PROGRAM = """\
import hashlib, json, os, sys, time
from pyspark.sql import SparkSession

def digest(texts):
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()

NAMES = sys.argv[2].split(",")

def variables(_=None):
    return digest({name: os.environ[name] for name in NAMES})

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
properties = {name: spark.conf.get(name) for name in sys.argv[3].split(",")}
found = [
    variables(), context.parallelize([0], 1).map(variables).first(), digest(properties),
    digest(sys.argv[4:]),
]
spark.sql("select 1 as x").collect()
time.sleep(2)  # the test reads the process list
context.parallelize([json.dumps(found)], 1).saveAsTextFile(sys.argv[1])
"""


def digest(texts: object) -> str:
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()


def contains_canary(body: bytes) -> bool:
    return CANARY.lower().encode() in body.lower()


@contextmanager
def watched_processes() -> Iterator[dict[str, bytes]]:
    """Collect the command lines with a canary of all processes, until the end of the block."""
    found: dict[str, bytes] = {}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = file.read_bytes()
                except OSError:
                    continue
                if contains_canary(line):
                    found[str(file)] = line

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def unpacked(body: bytes) -> bytes:
    """Return the content of a file or object, decompressed if it is compressed."""
    if body.startswith(b"\x1f\x8b"):
        return gzip.decompress(body)
    try:
        return b"".join(codecs.decode(io.BytesIO(body)))
    except codecs.CutError:
        return body


def expect_hidden(shell: Shell, target: Target, spec: str, *options: str) -> None:
    """Run a job with planted secrets; check that it gets them, and search for them everywhere."""
    document = yaml.safe_load((shell.folder / spec).read_text())
    document["jobs"] = {
        "canary": {
            "script": "canary.py",
            "args": [
                *("{run}/output/found", ",".join((*VARIABLES, *CALLERS, "STORED"))),
                *(",".join(PROPERTIES), *ARGUMENTS),
            ],
            "env": VARIABLES,
            "secrets": {"API_USER": "prod/user", "STORED": f"{spec}#password"},
            "settings": {"conf": PROPERTIES},
        }
    }
    own = shell.folder / f"canary-{spec}"
    own.write_text(yaml.safe_dump(document))
    (shell.folder / "canary.py").write_text(PROGRAM)
    manager = target.client("secretsmanager")
    manager.create_secret(Name=spec, SecretString=json.dumps(STORED))
    with mock.patch.dict(os.environ, CALLERS), watched_processes() as shown:
        [run], err = shell.submit(
            *("--config", own.name, *SMALL, "--executors", "1", "--no-dynamic-allocation"),
            *("--env", "SMTP_PASS", *options, "canary"),
        )
    own.unlink()
    manager.delete_secret(SecretId=spec, ForceDeleteWithoutRecovery=True)
    assert run["state"] == "COMPLETED"
    assert shown == {}
    expect_received(target, run["bucket"], run["id"])
    outputs = [
        err,
        json.dumps(run),
        shell.run("runs", "--config", spec, "show", run["id"])[0],
        shell.run("runs", "--config", spec, "show", run["id"], "--json")[0],
        shell.run("runs", "--config", spec, "query", "select * from runs", "--json")[0],
        shell.run("metrics", "--config", spec, run["id"], "--json", "--findings")[0],
        *shell.run("compare", "--config", spec, run["id"], run["id"], "--html", "canary.html"),
        shell.run("advise", "--config", spec, run["id"])[0],
        shell.run("config", "--config", spec)[0],
    ]
    for output in outputs:
        assert not contains_canary(output.encode()), output[:2000]
    shell.run("pull", "--config", spec, run["id"], "--output", "pulled-canary")
    expect_no_file(shell.folder)
    expect_no_file(shell.home)
    expect_no_object(target, run["bucket"])


def expect_received(target: Target, bucket: str, run_id: str) -> None:
    """Check that the program got every secret, by the digests that it wrote."""
    key = f"runs/{run_id}/output/found/part-00000"
    found = json.loads(target.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    variables = digest({**VARIABLES, **CALLERS, "STORED": STORED["password"]})
    assert found == [variables, variables, digest(PROPERTIES), digest(list(ARGUMENTS))]


def expect_no_file(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    for path in files:
        assert not contains_canary(path.name.encode())
        body = unpacked(path.read_bytes())
        if path.name in SPARK_CONF and "usercache" in path.parts:
            assert is_private(path)  # Spark passes the properties of a run to YARN in these files
            body = re.sub(rf"{CANARY}[678]\b".encode(), b"", body)
        assert not contains_canary(body), path


def is_private(path: Path) -> bool:
    """Return whether no other user may use a file or one of the folders above it."""
    return any(one.stat().st_mode & 0o077 == 0 for one in (path, *path.parents))


def expect_no_object(target: Target, bucket: str) -> None:
    """Search all versions of all objects; those of runs that have finished are deleted."""
    s3 = target.client("s3")
    versions = [
        item
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
        for item in page.get("Versions", ())
    ]
    assert any(item["Key"].startswith("eventlogs/") for item in versions)
    assert not [item for item in versions if item["Key"].startswith(PRIVATE_PREFIX)]
    for item in versions:
        body = s3.get_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])["Body"]
        assert not contains_canary(unpacked(body.read())), item["Key"]


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_submit_on_emr_hides_secrets(shell: Shell, local: Target, mode: str) -> None:
    expect_hidden(shell, local, "emrctl.yaml", "--deploy-mode", mode)
