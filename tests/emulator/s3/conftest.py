"""Fixtures of the tests of S3: clients of the emulator and of plain moto, stores in folders."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from emrctl.aws.target import Target
from emrctl.emulator.s3.store import ObjectStore

Client = Any


def client(endpoint: str, access_key: str, secret_key: str, **config: Any) -> Client:
    return boto3.Session(region_name="us-east-1").client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **config),
    )


def target_client(target: Target, **config: Any) -> Client:
    """Return a client of the emulator that signs as `config` says."""
    own = target.client("s3")._request_signer._credentials
    return client(str(target.endpoint), own.access_key, own.secret_key, **config)


@pytest.fixture(scope="session")
def s3(instances: Target) -> Client:
    return target_client(instances)


@pytest.fixture(scope="session")
def moto_s3() -> Iterator[Client]:
    """Yield a client of moto's server without emrctl."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield client(f"http://{host}:{port}", "testing", "testing")
    server.stop()


def empty(s3: Client, bucket: str) -> None:
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        items = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
        if keys:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})


@pytest.fixture
def bucket(s3: Client) -> Iterator[str]:
    name = f"bucket-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=name)
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with contextlib.closing(ObjectStore(tmp_path / "s3")) as store:
        yield store
