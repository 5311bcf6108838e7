"""Keys with every printable ASCII character and Unicode, from each client of S3."""

from __future__ import annotations

import base64
import json
import os
import shutil
import string
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from emrctl.aws.target import Target
from tests.emulator.s3.conftest import Client, target_client
from tests.emulator.sigv4_reference import Request, chunked

BUCKET = "odd-keys"
# The AWS CLI of this machine, otherwise its package in an environment of its own.
UV = str(Path(sys.executable).with_name("uv"))
AWS = ["aws"] if shutil.which("aws") else [UV, "tool", "run", "--quiet", "--from", "awscli", "aws"]
GO = Path(__file__).parents[2] / "engine" / "go"
FOLDER = "data folder/Great Pyrenees/1.jpg"
# One character a key, since clients escape each in its own way.
PRINTABLE = tuple(f"odd/a{one}b" for one in f"{string.digits}aZ{string.punctuation} ")
KEYS = (
    *(FOLDER, *PRINTABLE, "größe/日本 語.txt", "😀", "e\u0301", "\u00a0", "a//b", "a/./b/../c"),
    *("%41", "50%25_x", "a%2Fb", "a+b c", " first", "last ", "?uploads", "a=b&prefix=c"),
)
# A file system has no such names.
NO_FILES = ("a//b", "a/./b/../c", "odd/a/b")
BODY = bytes(range(256)) * 3
CRC32 = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()


@pytest.fixture
def s3(instances: Target) -> Iterator[Client]:
    """Yield boto3's client; delete the objects and the bucket after the test."""
    s3 = instances.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    yield s3
    for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def keys(s3: Client) -> set[str]:
    """Store an object with its own key as content under each key."""
    for key in KEYS:
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    return set(KEYS)


def test_boto3_reads_lists_copies_and_deletes_every_key(s3: Client, keys: set[str]) -> None:
    listed = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {item["Key"] for item in listed} == keys
    for key in keys:
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()
        for call in (s3.list_objects_v2, s3.list_objects):
            answer = call(Bucket=BUCKET, Prefix=key[:-1], Delimiter=key[-1])
            assert key in {item["Prefix"] for item in answer["CommonPrefixes"]}
            assert answer["Delimiter"] == key[-1]
        source = {"Bucket": BUCKET, "Key": key}
        s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=source)
        assert s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == key.encode()
        deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}]})
        assert [item["Key"] for item in deleted["Deleted"]] == [key]
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["copy"]


def test_pages_of_list_objects_return_every_key(s3: Client, keys: set[str]) -> None:
    for name in ("list_objects", "list_objects_v2", "list_object_versions"):
        pages = s3.get_paginator(name).paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 1})
        items = [item for page in pages for item in page.get("Contents", page.get("Versions", ()))]
        assert sorted(item["Key"] for item in items) == sorted(keys), name


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_urls_read_every_key(instances: Target, keys: set[str], version: str) -> None:
    client = target_client(instances, signature_version=version)
    for key in keys - {"a/./b/../c"}:  # requests removes dots
        parameters = {"Bucket": BUCKET, "Key": key, "ResponseContentType": "text/a b"}
        url = client.generate_presigned_url("get_object", Params=parameters)
        assert requests.get(url, timeout=60).content == key.encode()


@pytest.mark.parametrize(
    ("payload", "signed", "trailer"),
    [
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", True, ""),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", True, f"x-amz-checksum-crc32:{CRC32}"),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", False, f"x-amz-checksum-crc32:{CRC32}"),
        ("UNSIGNED-PAYLOAD", None, ""),
        ("", None, ""),
    ],
)
def test_put_object_decodes_payload(
    instances: Target, s3: Client, payload: str, signed: bool | None, trailer: str
) -> None:
    body = BODY
    headers = {"x-amz-content-sha256": payload} if payload else {}
    sent = body
    if signed is not None:
        sent = chunked(body, signed=signed, trailer=trailer)
        headers |= {"x-amz-decoded-content-length": str(len(body))}
        headers |= {"content-encoding": "aws-chunked"}
    request = Request(method="PUT", path=f"/{BUCKET}/a%20b", headers=headers, body=sent)
    own = s3._request_signer._credentials
    endpoint = str(instances.endpoint)
    signed_headers = request.sign(endpoint.partition("//")[2], own.access_key, own.secret_key)
    url = endpoint + request.path
    requests.put(url, sent, headers=signed_headers, timeout=60).raise_for_status()
    stored = s3.get_object(Bucket=BUCKET, Key="a b")
    assert stored["Body"].read() == body
    assert "aws-chunked" not in stored.get("ContentEncoding", "")


def environment(target: Target) -> dict[str, str]:
    own = target.client("s3")._request_signer._credentials
    return {
        **os.environ,
        "AWS_ACCESS_KEY_ID": own.access_key,
        "AWS_SECRET_ACCESS_KEY": own.secret_key,
        "AWS_ENDPOINT_URL": str(target.endpoint),
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONUTF8": "1",
    }


def test_aws_cli_copies_every_key_both_ways(instances: Target, s3: Client, tmp_path: Path) -> None:
    names = [key for key in KEYS if key not in NO_FILES]
    for name in names:
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)

    def aws(*arguments: str) -> str:
        done = subprocess.run(
            [*AWS, *arguments],
            cwd=tmp_path,
            env=environment(instances),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    aws("s3", "cp", "--recursive", "from", f"s3://{BUCKET}/")
    assert {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]} == set(names)
    assert "1.jpg" in aws("s3", "ls", f"s3://{BUCKET}/data folder/Great Pyrenees/")
    aws("s3", "sync", f"s3://{BUCKET}/", "to")
    for name in names:
        assert (tmp_path / "to" / name).read_text() == name


@pytest.mark.engine
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_go_sdk_lists_reads_and_deletes_every_key(
    instances: Target, s3: Client, keys: set[str]
) -> None:
    done = subprocess.run(
        ["go", "run", "-buildvcs=false", "./s3keys", BUCKET],
        cwd=GO,
        env=environment(instances),
        input=json.dumps(sorted(keys)),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
