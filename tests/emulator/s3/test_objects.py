"""S3's answers that moto does not give: checksums, limits, conditions, versions, streams."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import zlib
from typing import Any

import psutil
import pytest
import requests
from botocore.exceptions import ClientError

from emrctl.aws.target import Target
from emrctl.emulator.s3 import checksums
from emrctl.emulator.server import state
from tests.emulator.s3.conftest import Client, target_client
from tests.emulator.sigv4_reference import Request, chunked


def code(operation: Any, **arguments: Any) -> str:
    """Return the code of the error that an operation raises."""
    with pytest.raises(ClientError) as caught:
        operation(**arguments)
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_stated_checksum_is_verified_and_returned(s3: Client, bucket: str, algorithm: str) -> None:
    checksum = checksums.new(algorithm)
    checksum.update(b"content")
    value, name = checksums.encoded(checksum.digest()), f"Checksum{algorithm}"
    s3.put_object(Bucket=bucket, Key="a", Body=b"content", **{name: value})
    head = s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert (head[name], head["ChecksumType"]) == (value, "FULL_OBJECT")
    wrong = base64.b64encode(bytes(len(base64.b64decode(value)))).decode()
    arguments = {"Bucket": bucket, "Key": "b", "Body": b"content"}
    assert code(s3.put_object, **arguments, **{name: wrong}) == "BadDigest"
    assert code(s3.put_object, **arguments, **{name: "AAAA"}) == "InvalidRequest"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_content_md5_is_verified(s3: Client, bucket: str) -> None:
    arguments = {"Bucket": bucket, "Key": "a", "Body": b"content"}
    right = base64.b64encode(hashlib.md5(b"content").digest()).decode()  # noqa: S324
    s3.put_object(**arguments, ContentMD5=right)
    wrong = base64.b64encode(bytes(16)).decode()
    assert code(s3.put_object, **arguments, ContentMD5=wrong) == "BadDigest"
    assert code(s3.put_object, **arguments, ContentMD5="AAAA") == "InvalidDigest"


@pytest.mark.parametrize("kind", ["FULL_OBJECT", "COMPOSITE"])
def test_checksum_of_multipart_upload_is_that_of_its_parts(
    s3: Client, bucket: str, kind: str
) -> None:
    parts = [b"a" * (5 << 20), b"end"]
    upload = s3.create_multipart_upload(
        Bucket=bucket, Key="a", ChecksumAlgorithm="CRC32", ChecksumType=kind
    )
    same = {"Bucket": bucket, "Key": "a", "UploadId": upload["UploadId"]}
    listed = []
    for number, body in enumerate(parts, start=1):
        part = s3.upload_part(**same, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")
        checksum = {"ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
        listed.append({"PartNumber": number, **checksum})
    done = s3.complete_multipart_upload(**same, MultipartUpload={"Parts": listed})
    whole = zlib.crc32(b"".join(parts)).to_bytes(4, "big")
    if kind == "FULL_OBJECT":
        assert done["ChecksumCRC32"] == base64.b64encode(whole).decode()
    else:
        assert done["ChecksumCRC32"].endswith("-2")
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"".join(parts)
    again = s3.complete_multipart_upload(**same, MultipartUpload={"Parts": listed})
    assert again["ETag"] == done["ETag"]
    second = s3.get_object(Bucket=bucket, Key="a", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (b"end", 2)


def test_limits_are_those_of_s3(s3: Client, bucket: str) -> None:
    key = "ü" * 512
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    assert code(s3.put_object, Bucket=bucket, Key=key + "a", Body=b"") == "KeyTooLongError"
    arguments: dict[str, Any] = {"Bucket": bucket, "Key": "a", "Body": b""}
    assert code(s3.put_object, **arguments, Metadata={"k": "v" * 2048}) == "MetadataTooLarge"
    tags = "&".join(f"k{number}=v" for number in range(11))
    assert code(s3.put_object, **arguments, Tagging=tags) == "BadRequest"
    assert code(s3.put_object, **arguments, Tagging="a=1&a=2") == "InvalidTag"
    assert code(s3.put_object, **arguments, StorageClass="FAST") == "InvalidStorageClass"
    assert code(s3.put_object, **arguments, ACL="public-read") == "AccessControlListNotSupported"
    delete = {"Objects": [{"Key": str(number)} for number in range(1001)]}
    assert code(s3.delete_objects, Bucket=bucket, Delete=delete) == "MalformedXML"
    part = {"Bucket": bucket, "Key": "a", "UploadId": "none", "Body": b""}
    assert code(s3.upload_part, **part, PartNumber=1) == "NoSuchUpload"
    assert code(s3.upload_part, **part, PartNumber=10_001) == "InvalidArgument"


def test_parts_in_wrong_order_are_rejected(s3: Client, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    same = {"Bucket": bucket, "Key": "a", "UploadId": upload}
    etags = [s3.upload_part(**same, PartNumber=n, Body=b"x")["ETag"] for n in (1, 2)]
    parts = [{"PartNumber": n, "ETag": etag} for n, etag in ((2, etags[1]), (1, etags[0]))]
    arguments = {**same, "MultipartUpload": {"Parts": parts}}
    assert code(s3.complete_multipart_upload, **arguments) == "InvalidPartOrder"


def test_quiet_deletion_lists_errors_only(s3: Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    delete = {"Objects": [{"Key": "a"}, {"Key": "none"}], "Quiet": True}
    answer = s3.delete_objects(Bucket=bucket, Delete=delete)
    assert "Deleted" not in answer
    assert "Errors" not in answer


def test_delete_marker_answers_as_s3(s3: Client, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    marker = s3.delete_object(Bucket=bucket, Key="a")
    assert marker["DeleteMarker"]
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="a", VersionId=marker["VersionId"])
    assert caught.value.response["Error"]["Code"] == "MethodNotAllowed"
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amz-delete-marker"] == "true"
    assert code(s3.get_object, Bucket=bucket, Key="a", VersionId="other") == "NoSuchVersion"
    removed = s3.delete_object(Bucket=bucket, Key="a", VersionId=marker["VersionId"])
    assert removed["DeleteMarker"]
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"


def test_only_one_of_many_conditional_writes_succeeds(s3: Client, bucket: str) -> None:
    codes: list[str] = []

    def write(number: int) -> None:
        try:
            s3.put_object(Bucket=bucket, Key="lock", Body=b"%d" % number, IfNoneMatch="*")
            codes.append("")
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["", *["PreconditionFailed"] * 7]


@pytest.mark.parametrize("coded", [True, False])
def test_cut_and_changed_bodies_are_not_stored(
    instances: Target, s3: Client, bucket: str, coded: bool
) -> None:
    body = b"0123456789" * 100
    payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER" if coded else hashlib.sha256(body).hexdigest()
    sent = chunked(body, signed=False) if coded else body
    headers = {"x-amz-content-sha256": payload}
    headers |= {"x-amz-decoded-content-length": str(len(body))} if coded else {}
    request = Request(method="PUT", path=f"/{bucket}/a", headers=headers, body=sent)
    own, endpoint = s3._request_signer._credentials, str(instances.endpoint)
    signed = request.sign(endpoint.partition("//")[2], own.access_key, own.secret_key)
    for wrong in (sent[:500], sent[:-1] if not coded else sent[:700], b"X" * len(sent)):
        answer = requests.put(endpoint + request.path, wrong, headers=signed, timeout=60)
        assert answer.status_code == 400, answer.text
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    requests.put(endpoint + request.path, sent, headers=signed, timeout=60).raise_for_status()
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == body


def test_unsupported_operations_are_rejected(s3: Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    same = {"Bucket": bucket, "Key": "a"}
    assert code(s3.get_object_legal_hold, **same) == "NotImplemented"
    assert code(s3.get_object_retention, **same) == "NotImplemented"
    assert code(s3.put_object, **same, IfNoneMatch='"x"') == "NotImplemented"


def test_policy_applies_to_objects(s3: Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="public/a", Body=b"1")
    s3.put_object(Bucket=bucket, Key="secret/a", Body=b"1")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:DeleteObject"],
        "Resource": f"arn:aws:s3:::{bucket}/secret/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert code(s3.get_object, Bucket=bucket, Key="secret/a") == "AccessDenied"
    assert code(s3.head_object, Bucket=bucket, Key="secret/a") == "403"
    source = {"Bucket": bucket, "Key": "secret/a"}
    assert code(s3.copy_object, Bucket=bucket, Key="b", CopySource=source) == "AccessDenied"
    assert s3.get_object(Bucket=bucket, Key="public/a")["Body"].read() == b"1"
    delete = {"Objects": [{"Key": "secret/a"}, {"Key": "public/a"}]}
    answer = s3.delete_objects(Bucket=bucket, Delete=delete)
    assert [item["Key"] for item in answer["Deleted"]] == ["public/a"]
    assert [(item["Key"], item["Code"]) for item in answer["Errors"]] == [
        ("secret/a", "AccessDenied")
    ]
    s3.delete_bucket_policy(Bucket=bucket)


def test_large_object_is_streamed_both_ways(instances: Target, s3: Client, bucket: str) -> None:
    size = 192 << 20
    process = psutil.Process(_pid(instances))
    before = process.memory_info().rss
    peak = [before]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    digest, count = hashlib.sha256(), 0
    try:
        s3.put_object(Bucket=bucket, Key="large", Body=io.BytesIO(bytes(size)))
        for block in s3.get_object(Bucket=bucket, Key="large")["Body"].iter_chunks(1 << 20):
            digest.update(block)
            count += len(block)
    finally:
        stop.set()
        watcher.join()
    assert count == size
    assert digest.hexdigest() == hashlib.sha256(bytes(size)).hexdigest()
    assert peak[0] - before < 40 << 20


def _pid(target: Target) -> int:
    assert target.credentials is not None
    info = state.read(target.credentials.parent)
    assert info is not None
    return info.pid


def test_presigned_urls_upload_and_download(instances: Target, bucket: str) -> None:
    for version in ("s3v4", "s3"):
        signer = target_client(instances, signature_version=version)
        parameters = {"Bucket": bucket, "Key": f"a {version}"}
        put = signer.generate_presigned_url("put_object", Params=parameters)
        requests.put(put, b"content", timeout=60).raise_for_status()
        get = signer.generate_presigned_url("get_object", Params=parameters)
        assert requests.get(get, timeout=60).content == b"content"
        ranged = requests.get(get, headers={"Range": "bytes=1-2"}, timeout=60)
        assert (ranged.status_code, ranged.content) == (206, b"on")
