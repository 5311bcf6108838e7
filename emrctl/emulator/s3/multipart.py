"""The operations of multipart uploads."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from typing import Any

from emrctl.emulator.s3 import checksums, conditions
from emrctl.emulator.s3.attributes import encryption_headers, metadata_attributes
from emrctl.emulator.s3.blobs import Segment
from emrctl.emulator.s3.content import receive
from emrctl.emulator.s3.errors import S3Error, invalid_argument, malformed_xml
from emrctl.emulator.s3.index import StoredObject
from emrctl.emulator.s3.listing import OWNER, boolean, integer
from emrctl.emulator.s3.objects import (
    MAX_PARTS,
    find_source,
    part_number,
    source_name,
    version_header,
)
from emrctl.emulator.s3.request import S3Request, S3Response, iso_date, xml_response
from emrctl.emulator.s3.store import ObjectStore
from emrctl.emulator.s3.uploads import Part, Upload, Uploads
from emrctl.emulator.s3.xml_text import text_of

_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})", re.ASCII)


def create(uploads: Uploads, bucket: Any, request: S3Request) -> S3Response:
    """Answer CreateMultipartUpload."""
    attributes = metadata_attributes(request, bucket)
    algorithm = request.headers.get("x-amz-checksum-algorithm", "").upper()
    kind = request.headers.get("x-amz-checksum-type", "").upper()
    if algorithm:
        if algorithm not in checksums.ALGORITHMS:
            message = "Checksum algorithm provided is unsupported."
            raise S3Error("InvalidRequest", message, 400)
        kind = kind or ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
        if kind == "FULL_OBJECT" and algorithm not in checksums.CRCS:
            message = (
                f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm."
            )
            raise S3Error("InvalidRequest", message, 400)
        attributes.checksums, attributes.checksum_type = {algorithm: ""}, kind
    upload = uploads.create(request.bucket, request.key, attributes)
    headers = encryption_headers(attributes)
    if algorithm:
        headers |= {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    elements = [("Bucket", request.bucket), ("Key", request.key), ("UploadId", upload.id)]
    return xml_response("InitiateMultipartUploadResult", elements, headers)


def upload_part(uploads: Uploads, store: ObjectStore, request: S3Request) -> S3Response:
    """Answer UploadPart."""
    number = part_number(request.query.get("partNumber", ""))
    upload = uploads.get(request.bucket, request.key, request.query["uploadId"])
    content = receive(request, store.blobs, upload.algorithm)
    part = Part(
        number=number,
        etag=f'"{content.md5}"',
        size=content.segment.size,
        modified=time.time(),
        segments=(content.segment,),
        checksum=content.checksums.get(upload.algorithm, ""),
    )
    uploads.put_part(upload, part)
    headers = {"ETag": part.etag, **encryption_headers(upload.attributes)}
    for name, value in content.checksums.items():
        headers[f"x-amz-checksum-{name.lower()}"] = value
    return S3Response(headers=headers)


def upload_part_copy(
    uploads: Uploads, store: ObjectStore, request: S3Request, buckets: Mapping[str, Any]
) -> S3Response:
    """Answer UploadPartCopy."""
    number = part_number(request.query.get("partNumber", ""))
    upload = uploads.get(request.bucket, request.key, request.query["uploadId"])
    source = find_source(store, buckets, request)
    conditions.check_copy_source(request.headers, source)
    start, size = _source_range(request, source)
    segments = _copied_range(store, source, start, size)
    digest, checksum = _digests(store, segments, size, upload)
    part = Part(
        number=number,
        etag=f'"{digest}"',
        size=size,
        modified=time.time(),
        segments=segments,
        checksum=checksum,
    )
    uploads.put_part(upload, part)
    elements = [("LastModified", iso_date(int(part.modified))), ("ETag", part.etag)]
    if checksum:
        elements.append((f"Checksum{upload.algorithm}", checksum))
    headers = encryption_headers(upload.attributes)
    if source_name(request)[2] is not None:
        headers["x-amz-copy-source-version-id"] = source.version
    return xml_response("CopyPartResult", elements, headers)


def _copied_range(
    store: ObjectStore, source: StoredObject, start: int, size: int
) -> tuple[Segment, ...]:
    """Return content files with a range of the source: links if it is whole."""
    if (start, size) == (0, source.size):
        return tuple(store.blobs.copy(segment) for segment in source.segments)
    return (store.blobs.write(store.blobs.read(source.segments, start, size)),)


def _digests(
    store: ObjectStore, segments: tuple[Segment, ...], size: int, upload: Upload
) -> tuple[str, str]:
    """Return the MD5 of a part's content and its checksum of the upload's algorithm."""
    md5 = hashlib.md5(usedforsecurity=False)
    checksum = checksums.new(upload.algorithm) if upload.algorithm else None
    for block in store.blobs.read(segments, 0, size):
        md5.update(block)
        if checksum is not None:
            checksum.update(block)
    value = checksums.encoded(checksum.digest()) if checksum is not None else ""
    return md5.hexdigest(), value


def _source_range(request: S3Request, source: StoredObject) -> tuple[int, int]:
    text = request.headers.get("x-amz-copy-source-range", "")
    if not text:
        return 0, source.size
    match = _RANGE.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        message = (
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first "
            "and last are the zero-based offsets of the first and last bytes to copy"
        )
        raise invalid_argument(message, "x-amz-copy-source-range", text)
    if int(match[2]) >= source.size:
        message = f"Range specified is not valid for source object of size: {source.size}"
        raise invalid_argument(message, "x-amz-copy-source-range", text)
    return int(match[1]), int(match[2]) - int(match[1]) + 1


def complete(uploads: Uploads, store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer CompleteMultipartUpload, also again for an upload that is the current object."""
    id_ = request.query["uploadId"]
    listed = _listed_parts(request)
    try:
        upload = uploads.get(request.bucket, request.key, id_)
        condition = conditions.write_condition(request)
        stored = uploads.complete(upload, listed, bucket.versioning_status, condition)
    except S3Error as error:
        current = store.get(request.bucket, request.key)
        if error.code != "NoSuchUpload" or current is None or current.attributes.upload != id_:
            raise
        stored = current
    elements = [
        ("Location", f"http://{request.environ.get('HTTP_HOST')}/{request.bucket}/{request.key}"),
        *(("Bucket", request.bucket), ("Key", request.key), ("ETag", stored.etag)),
    ]
    for name, value in stored.attributes.checksums.items():
        elements += [(f"Checksum{name}", value), ("ChecksumType", stored.attributes.checksum_type)]
    headers = {**version_header(bucket, stored), **encryption_headers(stored.attributes)}
    return xml_response("CompleteMultipartUploadResult", elements, headers)


def _listed_parts(request: S3Request) -> list[tuple[int, str]]:
    parts = request.xml("CompleteMultipartUpload").get("Part") or []
    if not 1 <= len(parts) <= MAX_PARTS:
        raise malformed_xml()
    listed = [(text_of(part, "PartNumber"), text_of(part, "ETag")) for part in parts]
    if not all(number.isdecimal() and len(number) < 10 for number, _ in listed):
        raise malformed_xml()
    return [(int(number), etag) for number, etag in listed]


def abort(uploads: Uploads, request: S3Request) -> S3Response:
    """Answer AbortMultipartUpload."""
    id_ = request.query["uploadId"]
    uploads.abort(uploads.get(request.bucket, request.key, id_))
    return S3Response(status=204)


def list_parts(uploads: Uploads, request: S3Request) -> S3Response:
    """Answer ListParts."""
    upload = uploads.get(request.bucket, request.key, request.query["uploadId"])
    limit = min(1000, integer(request, "max-parts", 1000))
    marker = integer(request, "part-number-marker", 0)
    rest = [part for part in uploads.parts(upload) if part.number > marker]
    page = rest[:limit]
    elements: list[tuple[str, Any]] = [
        *(("Bucket", upload.bucket), ("Key", upload.key), ("UploadId", upload.id)),
        ("PartNumberMarker", str(marker)),
        ("NextPartNumberMarker", str(page[-1].number if page else 0)),
        *(("MaxParts", str(limit)), ("IsTruncated", boolean(len(rest) > len(page)))),
    ]
    elements += [("Part", _part_elements(upload, part)) for part in page]
    return xml_response("ListPartsResult", elements + _owner())


def _part_elements(upload: Upload, part: Part) -> list[tuple[str, str]]:
    elements = [
        *(("PartNumber", str(part.number)), ("LastModified", iso_date(int(part.modified)))),
        *(("ETag", part.etag), ("Size", str(part.size))),
    ]
    return elements + ([(f"Checksum{upload.algorithm}", part.checksum)] if part.checksum else [])


def list_uploads(uploads: Uploads, request: S3Request) -> S3Response:
    """Answer ListMultipartUploads."""
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    limit = min(1000, integer(request, "max-uploads", 1000))
    key_marker = request.query.get("key-marker", "")
    id_marker = request.query.get("upload-id-marker", "")
    every = uploads.list(request.bucket, prefix)
    ids = [one.id for one in every]
    if key_marker and id_marker in ids:
        every = every[ids.index(id_marker) + 1 :]
    elif key_marker:
        every = [one for one in every if one.key > key_marker]
    folders = {
        one.id: one.key[: end + len(delimiter)]
        for one in every
        if delimiter and (end := one.key.find(delimiter, len(prefix))) >= 0
    }
    page = [one for one in every if one.id not in folders][:limit]
    truncated = len(page) < len(every) - len(folders)
    elements: list[tuple[str, Any]] = [
        *(("Bucket", request.bucket), ("KeyMarker", key_marker), ("UploadIdMarker", id_marker)),
        *(("Prefix", prefix or None), ("Delimiter", delimiter or None)),
        *(("MaxUploads", str(limit)), ("IsTruncated", boolean(truncated))),
        ("NextKeyMarker", page[-1].key if truncated and page else None),
        ("NextUploadIdMarker", page[-1].id if truncated and page else None),
    ]
    elements += [("Upload", _upload_elements(one)) for one in page]
    elements += [("CommonPrefixes", [("Prefix", one)]) for one in sorted(set(folders.values()))]
    return xml_response("ListMultipartUploadsResult", elements)


def _upload_elements(upload: Upload) -> list[tuple[str, Any]]:
    algorithm = upload.algorithm or None
    return [
        *(("Key", upload.key), ("UploadId", upload.id)),
        *_owner(),
        ("Initiated", iso_date(int(upload.initiated))),
        *(
            ("ChecksumAlgorithm", algorithm),
            ("ChecksumType", upload.attributes.checksum_type or None),
        ),
    ]


def _owner() -> list[tuple[str, Any]]:
    return [("Initiator", OWNER), ("Owner", OWNER), ("StorageClass", "STANDARD")]
