"""Reading and writing objects: GetObject, HeadObject, PutObject, CopyObject, DeleteObject(s)."""

from __future__ import annotations

import contextlib
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from emrctl.emulator.s3 import checksums, conditions
from emrctl.emulator.s3.attributes import (
    encryption_headers,
    metadata_attributes,
    representation_headers,
)
from emrctl.emulator.s3.blobs import ranges
from emrctl.emulator.s3.content import receive
from emrctl.emulator.s3.errors import (
    S3Error,
    invalid_argument,
    malformed_xml,
    no_such_bucket,
    no_such_key,
    no_such_version,
)
from emrctl.emulator.s3.index import StoredObject
from emrctl.emulator.s3.request import S3Request, S3Response, iso_date, xml_response
from emrctl.emulator.s3.store import ObjectStore
from emrctl.emulator.s3.tags import tags_of_header
from emrctl.emulator.s3.xml_text import text_of
from emrctl.emulator.server.http_server import FileBody

MAX_PARTS = 10_000
_DELETE_LIMIT = 1000


def find(store: ObjectStore, request: S3Request) -> StoredObject:
    """Return the object or version of the request; raises S3's error."""
    version = request.query.get("versionId")
    stored = store.get(request.bucket, request.key, version)
    if stored is None:
        if version is None:
            raise no_such_key(request.key)
        raise no_such_version(request.key, version)
    if stored.marker:
        error = no_such_key(request.key)
        if version is not None:
            message = "The specified method is not allowed against this resource."
            error = S3Error("MethodNotAllowed", message, 405, ResourceType="DeleteMarker")
        error.headers = {"x-amz-delete-marker": "true", "x-amz-version-id": stored.version}
        raise error
    return stored


def version_header(bucket: Any, stored: StoredObject) -> dict[str, str]:
    """Return x-amz-version-id if the bucket has or had versioning."""
    return {"x-amz-version-id": stored.version} if bucket.versioning_status else {}


# -- reading


def get_object(store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer GetObject and HeadObject."""
    for _ in range(3):
        stored = find(store, request)
        response, (start, size) = _head(bucket, request, stored)
        if request.method == "HEAD" or not size:
            return response
        try:
            opened = store.blobs.open(stored.segments)
        except FileNotFoundError:
            continue  # it was replaced meanwhile
        files = tuple(descriptor for descriptor, _ in opened)
        response.body = FileBody(tuple(ranges(opened, start, size)), files)
        return response
    message = f"The content of {request.bucket}/{request.key} is missing."
    raise S3Error("InternalError", message, 400)


def _head(
    bucket: Any, request: S3Request, stored: StoredObject
) -> tuple[S3Response, tuple[int, int]]:
    """Return the response without its body, and start and size of the content to send."""
    headers = {"ETag": stored.etag, **version_header(bucket, stored)}
    headers |= representation_headers(request, stored)
    if conditions.not_modified(request.headers, stored):
        return S3Response(status=304, headers=headers), (0, 0)
    start, size, status = 0, stored.size, 200
    part = request.query.get("partNumber")
    if part is not None:
        start, size = _part_range(stored, part)
        status = 206
        if stored.attributes.parts:
            headers["x-amz-mp-parts-count"] = str(len(stored.attributes.parts))
    elif (found := conditions.byte_range(request.headers.get("range", ""), stored)) is not None:
        (start, size), status = found, 206
    if size == stored.size and request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers |= checksum_headers(stored)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{max(start, start + size - 1)}/{stored.size}"
    headers["Content-Length"] = str(size)
    return S3Response(status=status, headers=headers), (start, size)


def _part_range(stored: StoredObject, text: str) -> tuple[int, int]:
    sizes, number = stored.attributes.parts or [stored.size], part_number(text)
    if number > len(sizes):
        message = "The requested partnumber is not satisfiable"
        raise S3Error("InvalidPartNumber", message, 416)
    return sum(sizes[: number - 1]), sizes[number - 1]


def part_number(text: str) -> int:
    """Return the number of a part; raises S3's error."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PARTS:
        message = f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive"
        raise invalid_argument(message, "partNumber", text)
    return int(text)


def checksum_headers(stored: StoredObject) -> dict[str, str]:
    """Return the headers with the object's checksums."""
    found = stored.attributes.checksums.items()
    headers = {f"x-amz-checksum-{name.lower()}": value for name, value in found}
    if headers:
        headers["x-amz-checksum-type"] = stored.attributes.checksum_type or "FULL_OBJECT"
    return headers


# -- writing


def put_object(store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer PutObject."""
    condition = conditions.write_condition(request)
    attributes = metadata_attributes(request, bucket)
    content = receive(request, store.blobs)
    attributes.checksums = dict(content.checksums)
    stored = StoredObject(
        key=request.key,
        size=content.segment.size,
        etag=f'"{content.md5}"',
        modified=time.time(),
        segments=(content.segment,) if content.segment.size else (),
        attributes=attributes,
    )
    if not content.segment.size:
        store.blobs.delete([content.segment])
    store.put(request.bucket, stored, bucket.versioning_status, condition)
    headers = {
        "ETag": stored.etag,
        **version_header(bucket, stored),
        **encryption_headers(attributes),
        **checksum_headers(stored),
    }
    return S3Response(headers=headers)


def copy_object(
    store: ObjectStore, bucket: Any, request: S3Request, buckets: Mapping[str, Any]
) -> S3Response:
    """Answer CopyObject; `buckets` may have the source."""
    for _ in range(3):
        source = find_source(store, buckets, request)
        conditions.check_copy_source(request.headers, source)
        with contextlib.suppress(FileNotFoundError):  # the source was replaced meanwhile
            return _copy(store, bucket, request, source)
    raise no_such_key(source.key)


def _copy(store: ObjectStore, bucket: Any, request: S3Request, source: StoredObject) -> S3Response:
    stored = _copied(bucket, request, source)
    algorithm = request.headers.get("x-amz-checksum-algorithm", "").upper()
    if algorithm in checksums.ALGORITHMS and algorithm not in stored.attributes.checksums:
        checksum = checksums.new(algorithm)
        for block in store.blobs.read(source.segments, 0, source.size):
            checksum.update(block)
        stored.attributes.checksums = {algorithm: checksums.encoded(checksum.digest())}
        stored.attributes.checksum_type = ""
    condition = conditions.write_condition(request)
    stored.segments = tuple(store.blobs.copy(segment) for segment in source.segments)
    store.put(request.bucket, stored, bucket.versioning_status, condition)
    headers = {**version_header(bucket, stored), **encryption_headers(stored.attributes)}
    if source.version != "null":
        headers["x-amz-copy-source-version-id"] = source.version
    values = stored.attributes.checksums.items()
    elements = [
        ("LastModified", iso_date(int(stored.modified))),
        ("ETag", stored.etag),
        *((f"Checksum{name}", value) for name, value in values),
    ]
    return xml_response("CopyObjectResult", elements, headers)


def _copied(bucket: Any, request: S3Request, source: StoredObject) -> StoredObject:
    """Return the copy without its content; the ETag is the source's, also of multipart uploads."""
    replaces = request.headers.get("x-amz-metadata-directive", "COPY").upper() == "REPLACE"
    attributes = metadata_attributes(request, bucket)
    own = (request.bucket, request.key)
    changed = replaces or any(
        name in request.headers
        for name in (
            "x-amz-storage-class",
            "x-amz-website-redirect-location",
            "x-amz-server-side-encryption",
            "x-amz-tagging-directive",
        )
    )
    if own == source_name(request)[:2] and not changed and source.latest:
        message = (
            "This copy request is illegal because it is trying to copy an object to itself without "
            "changing the object's metadata, storage class, website redirect location or "
            "encryption attributes."
        )
        raise S3Error("InvalidRequest", message, 400)
    if not replaces:
        kept = {k: v for k, v in source.attributes.headers.items() if not k.startswith("x-amz-")}
        chosen = {k: v for k, v in attributes.headers.items() if k.startswith("x-amz-")}
        attributes.headers = kept | chosen
        attributes.metadata = dict(source.attributes.metadata)
    if request.headers.get("x-amz-tagging-directive", "COPY").upper() == "REPLACE":
        attributes.tags = tags_of_header(request)
    else:
        attributes.tags = dict(source.attributes.tags)
    attributes.checksums = dict(source.attributes.checksums)
    attributes.checksum_type = source.attributes.checksum_type
    return StoredObject(
        key=request.key,
        size=source.size,
        etag=source.etag,
        modified=time.time(),
        attributes=attributes,
    )


def source_name(request: S3Request) -> tuple[str, str, str | None]:
    """Return bucket, key and version of x-amz-copy-source; raises S3's error."""
    text, _, query = request.headers["x-amz-copy-source"].partition("?")
    bucket, slash, key = urllib.parse.unquote(text).lstrip("/").partition("/")
    if not slash or not key:
        message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
        raise invalid_argument(message, "x-amz-copy-source", text)
    version = dict(urllib.parse.parse_qsl(query)).get("versionId")
    return bucket, key, version


def find_source(store: ObjectStore, buckets: Mapping[str, Any], request: S3Request) -> StoredObject:
    """Return the object of x-amz-copy-source; raises S3's error."""
    bucket, key, version = source_name(request)
    if bucket not in buckets:
        raise no_such_bucket(bucket)
    stored = store.get(bucket, key, version)
    if stored is None or stored.marker:
        raise no_such_key(key) if version is None else no_such_version(key, version)
    return stored


# -- deleting


def delete_object(store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer DeleteObject, also for objects that do not exist."""
    deletion = store.delete(
        request.bucket,
        request.key,
        request.query.get("versionId"),
        versioning=bucket.versioning_status,
        condition=conditions.delete_condition(request),
    )
    headers = {"x-amz-delete-marker": "true"} if deletion.marker else {}
    if deletion.version is not None:
        headers["x-amz-version-id"] = deletion.version
    return S3Response(status=204, headers=headers)


def delete_objects(store: ObjectStore, bucket: Any, request: S3Request, denied: Any) -> S3Response:
    """Answer DeleteObjects; `denied(key, version)` says whether a policy forbids a deletion."""
    delete = request.xml("Delete")
    objects = delete.get("Object") or []
    if not 1 <= len(objects) <= _DELETE_LIMIT:
        raise malformed_xml()
    named = [(text_of(one, "Key"), one.get("VersionId")) for one in objects]
    allowed = [one for one in named if not denied(*one)]
    deletions = store.delete_many(request.bucket, allowed, bucket.versioning_status)
    elements: list[tuple[str, Any]] = []
    if str(delete.get("Quiet", "")).lower() != "true":
        for (key, version), deletion in zip(allowed, deletions, strict=True):
            marker = deletion.version if deletion.marker else None
            elements.append(
                (
                    "Deleted",
                    [
                        ("Key", key),
                        ("VersionId", version),
                        ("DeleteMarker", "true" if deletion.marker else None),
                        ("DeleteMarkerVersionId", marker),
                    ],
                )
            )
    for key, version in set(named) - set(allowed):
        error = [("Key", key), ("VersionId", version), ("Code", "AccessDenied")]
        elements.append(("Error", [*error, ("Message", "Access Denied")]))
    return xml_response("DeleteResult", elements)
