"""The same requests to the emulator and to moto's server get the same answers.

Where moto differs from S3 the tests of `test_objects.py` have S3's answers.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.s3.conftest import Client, empty

# What no two servers have in common, or what one of them adds.
_OWN = {
    *("ResponseMetadata", "LastModified", "Initiated", "Owner", "Initiator", "RequestId", "HostId"),
    *("ServerSideEncryption", "BucketKeyEnabled", "NextContinuationToken", "ContinuationToken"),
    *("Location", "StorageClass", "UploadId", "ChecksumType", "ChecksumAlgorithm", "VersionId"),
    *("EncodingType", "Marker", "NextMarker", "UploadIdMarker", "DeleteMarkerVersionId"),
    *("VersionIdMarker", "NextVersionIdMarker", "PartsCount", "CopySourceVersionId"),
    *("NextUploadIdMarker", "AcceptRanges", "TagCount", "RequestCharged", "DeleteMarker"),
}


def comparable(value: Any) -> Any:
    """Return an answer without what differs; empty members count as absent."""
    if isinstance(value, dict):
        kept = {key: comparable(one) for key, one in value.items() if key not in _OWN}
        return {key: one for key, one in kept.items() if one not in ("", [], {}, None)}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    return value.read() if hasattr(value, "read") else value


class Recorder:
    """Calls operations of a client and records the answers."""

    def __init__(self, s3: Client, bucket: str) -> None:
        self.s3 = s3
        self.bucket = bucket
        self.answers: list[Any] = []

    def __call__(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Record the answer, or code and status of the error, and return the answer."""
        arguments.setdefault("Bucket", self.bucket)
        try:
            answer: dict[str, Any] = getattr(self.s3, operation)(**arguments)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            self.answers.append((operation, error.response["Error"]["Code"], status))
            return {}
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        self.answers.append((operation, status, self._hidden(comparable(answer))))
        return answer

    def _hidden(self, answer: Any) -> Any:
        return answer


Scenario = Callable[[Recorder], None]


def reading(call: Recorder) -> None:
    body = bytes(range(256)) * 4
    call("put_object", Key="a", Body=body, ContentType="image/png", Metadata={"k": "v", "k_2": "w"})
    call("put_object", Key="empty", Body=b"", CacheControl="no-store", ContentLanguage="de")
    for key in ("a", "empty", "missing", "a/", "A"):
        call("get_object", Key=key)
        call("head_object", Key=key)
    for byte_range in ("bytes=0-0", "bytes=10-", "bytes=-5", "bytes=0-99999", "bytes=1000-2000"):
        call("get_object", Key="a", Range=byte_range)
        call("head_object", Key="a", Range=byte_range)
    call("get_object", Key="a", Range="bytes=5000-")
    call("get_object", Key="a", ResponseContentType="text/plain", ResponseCacheControl="no-cache")
    call("get_object", Bucket="no-such-bucket-anywhere", Key="a")
    call("head_object", Bucket="no-such-bucket-anywhere", Key="a")
    call("put_object", Bucket="no-such-bucket-anywhere", Key="a", Body=b"")


def conditions(call: Recorder) -> None:
    etag = call("put_object", Key="a", Body=b"1")["ETag"]
    for key, value in (("a", etag), ("a", '"0"'), ("missing", etag)):
        call("get_object", Key=key, IfMatch=value)
        call("get_object", Key=key, IfNoneMatch=value)
        call("head_object", Key=key, IfNoneMatch=value)
        call("put_object", Key=key, Body=b"1", IfMatch=value)
        call("delete_object", Key=key, IfMatch=value)
        call("put_object", Key="a", Body=b"1")
    for key in ("a", "new", "new"):
        call("put_object", Key=key, Body=b"2", IfNoneMatch="*")
    call("get_object", Key="a", IfModifiedSince="2020-01-01T00:00:00Z")
    call("get_object", Key="a", IfUnmodifiedSince="2020-01-01T00:00:00Z")


def lists(call: Recorder) -> None:
    keys = ["a", "a/b", "a/b/c", "b", "data/1/x", "data/1/y", "data/2/x", "é/1", "z z/+", "~"]
    for key in keys:
        call("put_object", Key=key, Body=key.encode())
    queries: list[dict[str, Any]] = [
        *({}, {"Prefix": "a"}, {"Prefix": "a/"}, {"Prefix": "data/", "Delimiter": "/"}),
        *({"Delimiter": "/"}, {"Prefix": "none"}, {"Prefix": "é"}, {"Delimiter": "b"}),
        *({"MaxKeys": 3}, {"MaxKeys": 1000}, {"Prefix": "data/1/x"}, {"Prefix": "z "}),
    ]
    for query in queries:
        call("list_objects_v2", **query)
        call("list_object_versions", **query) if "Delimiter" not in query else None
        if query.get("MaxKeys") != 3:
            call("list_objects", **query)
    call("list_objects_v2", StartAfter="b")
    call("list_objects_v2", StartAfter="data/1/x", Prefix="data/")
    call("list_objects_v2", FetchOwner=True, Prefix="a")
    call("list_objects_v2", Bucket="no-such-bucket-anywhere")
    call("list_objects_v2", MaxKeys=0)


def copies(call: Recorder) -> None:
    call("put_object", Key="a b/ü+c", Body=b"1", Metadata={"k": "v"}, ContentType="text/plain")
    source = {"Bucket": call.bucket, "Key": "a b/ü+c"}
    call("copy_object", Key="copy", CopySource=source)
    call("get_object", Key="copy")
    call(
        "copy_object", Key="r", CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "1"}
    )
    call("head_object", Key="r")
    call("copy_object", Key="x", CopySource={"Bucket": call.bucket, "Key": "missing"})
    etag = call("head_object", Key="copy")["ETag"]
    call("copy_object", Key="x", CopySource=source, CopySourceIfNoneMatch=etag)
    call("copy_object", Key="copy", CopySource=source)
    call("delete_object", Key="a b/ü+c")
    call("get_object", Key="copy")


def deletions(call: Recorder) -> None:
    for key in ("a", "b", "c", "d"):
        call("put_object", Key=key, Body=b"")
    call("delete_object", Key="a")
    call("delete_object", Key="a")
    call("delete_objects", Delete={"Objects": [{"Key": "b"}, {"Key": "none"}]})
    call("list_objects_v2")
    call("delete_bucket")
    call("delete_objects", Bucket="no-such-bucket-anywhere", Delete={"Objects": [{"Key": "c"}]})


def tags(call: Recorder) -> None:
    call("put_object", Key="a", Body=b"", Tagging="team=cats&empty=")
    call("get_object_tagging", Key="a")
    tag_set = [{"Key": "k", "Value": "a + b"}]
    call("put_object_tagging", Key="a", Tagging={"TagSet": tag_set})
    call("get_object_tagging", Key="a")
    call("delete_object_tagging", Key="a")
    call("get_object_tagging", Key="a")
    call("get_object_tagging", Key="missing")
    call("get_object_attributes", Key="a", ObjectAttributes=["ETag", "ObjectSize"])


def multipart(call: Recorder) -> None:
    part = b"p" * (5 << 20)
    upload = call("create_multipart_upload", Key="big", Metadata={"k": "v"})["UploadId"]
    same = {"Key": "big", "UploadId": upload}
    etags = [
        call("upload_part", **same, PartNumber=number, Body=body)["ETag"]
        for number, body in ((1, b"replaced"), (1, part), (3, b"end"))
    ]
    call("list_parts", **same)
    call("list_parts", **same, MaxParts=1)
    listed = [{"PartNumber": 1, "ETag": etags[1]}, {"PartNumber": 3, "ETag": etags[2]}]
    unknown = [{"PartNumber": 2, "ETag": etags[0]}]
    call("complete_multipart_upload", **same, MultipartUpload={"Parts": unknown})
    call("complete_multipart_upload", **same, MultipartUpload={"Parts": listed})
    call("head_object", Key="big")
    call("get_object", Key="big", Range=f"bytes={len(part) - 2}-{len(part) + 1}")
    call("list_multipart_uploads")


def multipart_errors(call: Recorder) -> None:
    upload = call("create_multipart_upload", Key="big")["UploadId"]
    call("list_multipart_uploads")
    same = {"Key": "big", "UploadId": upload}
    small = [call("upload_part", **same, PartNumber=number, Body=b"x")["ETag"] for number in (1, 2)]
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(small, start=1)]
    call("complete_multipart_upload", **same, MultipartUpload={"Parts": parts})
    call("abort_multipart_upload", **same)
    call("abort_multipart_upload", **same)
    call("list_parts", **same)
    call("head_object", Key="big")
    call("list_multipart_uploads")


def part_copies(call: Recorder) -> None:
    call("put_object", Key="source", Body=bytes(range(200)))
    upload = call("create_multipart_upload", Key="big")["UploadId"]
    source = {"Bucket": call.bucket, "Key": "source"}
    same = {"Key": "big", "UploadId": upload, "PartNumber": 1, "CopySource": source}
    answer = call("upload_part_copy", **same, CopySourceRange="bytes=10-19")
    parts = [{"PartNumber": 1, "ETag": answer["CopyPartResult"]["ETag"]}]
    call(
        "complete_multipart_upload",
        Key="big",
        UploadId=upload,
        MultipartUpload={"Parts": parts},
    )
    call("get_object", Key="big")


def versions(call: Recorder) -> None:
    call("put_object", Key="a", Body=b"0")
    call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
    first = call("put_object", Key="a", Body=b"1")["VersionId"]
    call("put_object", Key="a", Body=b"22")
    call("get_object", Key="a", VersionId=first)
    call("get_object", Key="a")
    call("delete_object", Key="a")
    call("get_object", Key="a")
    call("head_object", Key="a")
    call("list_object_versions")
    call("list_objects_v2")
    call("delete_object", Key="a", VersionId=first)
    call("list_object_versions")


def random_operations(call: Recorder) -> None:
    choose = random.Random(15)  # noqa: S311
    keys = ["a", "a/b", "a/b/c", "b c", "ü", "x//y", "../up", "a/../b", "."]
    for _ in range(150):
        key, other = choose.choice(keys), choose.choice(keys)
        operation = choose.choice(["put", "put", "get", "head", "delete", "copy", "list"])
        if operation == "put":
            call("put_object", Key=key, Body=choose.randbytes(choose.choice([0, 1, 1000])))
        elif operation == "copy":
            call(
                "copy_object",
                Key=key,
                CopySource={"Bucket": call.bucket, "Key": other},
                MetadataDirective="REPLACE",
            )
        elif operation == "list":
            call(
                "list_objects_v2", Prefix=key[: choose.randrange(3)], Delimiter=choose.choice("/b")
            )
        else:
            call(f"{operation}_object", Key=key)


SCENARIOS: tuple[Scenario, ...] = (
    *(reading, conditions, lists, copies, deletions, tags, multipart, multipart_errors),
    *(part_copies, versions, random_operations),
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_emulator_answers_as_moto(s3: Client, moto_s3: Client, scenario: Scenario) -> None:
    bucket = f"both-{secrets.token_hex(6)}"
    answers = []
    for client in (s3, moto_s3):
        client.create_bucket(Bucket=bucket)
        recorder = Recorder(client, bucket)
        scenario(recorder)
        answers.append(recorder.answers)
    empty(s3, bucket)
    ours, motos = answers
    for number, (own, motos_own) in enumerate(zip(ours, motos, strict=True)):
        assert own == motos_own, f"answer {number}"
