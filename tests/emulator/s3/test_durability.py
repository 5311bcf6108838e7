"""What survives kill -9 of the emulator, and a restart; what `local down --delete` deletes."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import BotoCoreError, ClientError

from emrctl.emulator.server import control, state
from tests.emulator.process import kill, start
from tests.emulator.s3.conftest import target_client

BUCKET = "kept-bucket"
TAGS = [{"Key": "emrctl:project", "Value": "pets + dogs"}]
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:DeleteBucket",
            "Resource": f"arn:aws:s3:::{BUCKET}",
        }
    ],
}


def stop() -> None:
    control.down(lambda _: None)


@pytest.fixture
def home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("kept")
    monkeypatch.setenv("EMRCTL_HOME", str(home))
    yield home / "local"
    stop()


def settings(s3: Any) -> dict[str, Any]:
    """Return all settings of the bucket."""
    calls = {
        "tags": (s3.get_bucket_tagging, "TagSet"),
        "encryption": (s3.get_bucket_encryption, "ServerSideEncryptionConfiguration"),
        "access": (s3.get_public_access_block, "PublicAccessBlockConfiguration"),
        "lifecycle": (s3.get_bucket_lifecycle_configuration, "Rules"),
        "versioning": (s3.get_bucket_versioning, "Status"),
        "policy": (s3.get_bucket_policy, "Policy"),
        "location": (s3.get_bucket_location, "LocationConstraint"),
        "ownership": (s3.get_bucket_ownership_controls, "OwnershipControls"),
    }
    found: dict[str, Any] = {}
    for name, (call, key) in calls.items():
        try:
            found[name] = call(Bucket=BUCKET).get(key)
        except ClientError as error:
            found[name] = error.response["Error"]["Code"]
    created = [(item["Name"], item["CreationDate"]) for item in s3.list_buckets()["Buckets"]]
    return found | {"created": created}


def change_settings(s3: Any) -> None:
    s3.create_bucket(
        Bucket=BUCKET,
        CreateBucketConfiguration={"LocationConstraint": "eu-west-1", "Tags": TAGS},
    )
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": TAGS})
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/pets"}
    rule = {"ApplyServerSideEncryptionByDefault": default}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.delete_public_access_block(Bucket=BUCKET)
    expiry = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}}
    s3.put_bucket_lifecycle_configuration(
        Bucket=BUCKET, LifecycleConfiguration={"Rules": [{**expiry, "Expiration": {"Days": 7}}]}
    )
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(POLICY))


@pytest.mark.parametrize("end", [kill, stop], ids=["kill", "down"])
def test_objects_and_settings_survive(home: Path, end: Any) -> None:
    s3 = start().client("s3")
    change_settings(s3)
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"1", Metadata={"k": "v"}, Tagging="t=1")
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"2", ContentType="text/plain")
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]
    part = {"Bucket": BUCKET, "Key": "big", "UploadId": upload}
    etag = s3.upload_part(**part, PartNumber=1, Body=b"part")["ETag"]
    before, versions = settings(s3), s3.list_object_versions(Bucket=BUCKET)["Versions"]
    end()
    s3 = start().client("s3")
    assert settings(s3) == before
    assert before["access"] == "NoSuchPublicAccessBlockConfiguration"
    assert s3.list_object_versions(Bucket=BUCKET)["Versions"] == versions
    answer = s3.get_object(Bucket=BUCKET, Key="a")
    assert (answer["Body"].read(), answer["ContentType"]) == (b"2", "text/plain")
    old = s3.get_object(Bucket=BUCKET, Key="a", VersionId=versions[1]["VersionId"])
    assert (old["Body"].read(), old["Metadata"], old["TagCount"]) == (b"1", {"k": "v"}, 1)
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(**part, MultipartUpload=parts)
    assert s3.get_object(Bucket=BUCKET, Key="big")["Body"].read() == b"part"


def test_acknowledged_objects_survive_kill_during_writes(home: Path) -> None:
    target = start()
    target.client("s3").create_bucket(Bucket=BUCKET)
    acknowledged: dict[str, bytes] = {}

    def write(writer: int) -> None:
        s3 = target.client("s3")
        with contextlib.suppress(ClientError, BotoCoreError):
            for number in range(100_000):
                key, body = f"{writer}/{number}", b"%d" % number * 3000
                s3.put_object(Bucket=BUCKET, Key=key, Body=body)
                acknowledged[key] = body

    threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 150:
        threads[0].join(timeout=0.05)
    kill()
    kept = dict(acknowledged)
    s3 = start().client("s3")
    listed = {
        item["Key"]: item["Size"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        for item in page.get("Contents", ())
    }
    assert kept.keys() <= listed.keys()
    # At most the request that each writer was waiting for was stored without an answer.
    assert len(listed) <= len(kept) + len(threads)
    for key in listed:
        number = int(key.partition("/")[2])
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"%d" % number * 3000
    files = [path for path in (home / "s3" / "blobs").rglob("*") if path.is_file()]
    assert len(files) == len(listed)


def test_deleted_buckets_and_tags_stay_deleted(home: Path) -> None:
    s3 = start().client("s3")
    for name in (BUCKET, "gone-bucket"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": TAGS})
    s3.put_object(Bucket="gone-bucket", Key="a", Body=b"1")
    s3.delete_object(Bucket="gone-bucket", Key="a")
    s3.delete_bucket(Bucket="gone-bucket")
    s3.delete_bucket_tagging(Bucket=BUCKET)
    s3.delete_bucket_encryption(Bucket=BUCKET)
    kill()
    s3 = start().client("s3")
    assert [item["Name"] for item in s3.list_buckets()["Buckets"]] == [BUCKET]
    assert settings(s3)["tags"] == "NoSuchTagSet"
    assert settings(s3)["encryption"] == "ServerSideEncryptionConfigurationNotFoundError"
    s3.create_bucket(Bucket="gone-bucket")
    assert "Contents" not in s3.list_objects_v2(Bucket="gone-bucket")


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_delete_bucket_is_checked_and_survives(home: Path, version: str) -> None:
    target = start()
    s3 = target.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"1")
    signer = target_client(target, signature_version=version)
    url = signer.generate_presigned_url("delete_bucket", Params={"Bucket": BUCKET})
    answer = requests.delete(url, timeout=60)
    assert (answer.status_code, "BucketNotEmpty" in answer.text) == (409, True)
    assert s3.get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"1"
    s3.delete_object(Bucket=BUCKET, Key="a")
    assert requests.delete(url, timeout=60).status_code == 204
    kill()
    assert start().client("s3").list_buckets()["Buckets"] == []


def test_tags_of_other_services_survive(home: Path) -> None:
    target = start()
    target.client("s3").create_bucket(Bucket=BUCKET)
    api = target.client("resourcegroupstaggingapi")
    arn = f"arn:aws:s3:::{BUCKET}"
    api.tag_resources(ResourceARNList=[arn], Tags={"a": "1", "b": "2"})
    api.untag_resources(ResourceARNList=[arn], TagKeys=["a"])
    kill()
    assert settings(start().client("s3"))["tags"] == [{"Key": "b", "Value": "2"}]


def test_down_with_delete_removes_everything(home: Path) -> None:
    first = start()
    first.client("s3").create_bucket(Bucket=BUCKET)
    assert control.down(lambda _: None)
    again = start()
    assert again.lasting_identity == first.lasting_identity != again.identity
    stop()
    said: list[str] = []
    assert not control.down(said.append, delete=True)
    assert said == ["Deleted the buckets and the history of clusters."]
    assert not any(folder.exists() for folder in state.storage_folders(home))
    later = start()
    assert later.client("s3").list_buckets()["Buckets"] == []
    assert later.lasting_identity != first.lasting_identity


def test_files_are_readable_by_their_owner_only(home: Path) -> None:
    s3 = start().client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"secret")
    paths = [home / "s3", *(home / "s3").rglob("*"), home / "history"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)
