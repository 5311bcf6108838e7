"""Lists of keys and versions: ListObjects, ListObjectsV2 and ListObjectVersions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from emrctl.emulator.s3.errors import S3Error, invalid_argument
from emrctl.emulator.s3.index import StoredObject
from emrctl.emulator.s3.request import S3Request, S3Response, iso_date, xml_response
from emrctl.emulator.s3.store import KeyPage, ListQuery, ObjectStore
from emrctl.emulator.s3.xml_text import Element, url_quoted

# The owner of all buckets and objects.
OWNER: list[Element] = [
    ("ID", "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"),
    ("DisplayName", "webfile"),
]
_LIMIT = 1000
_MAX_INTEGER = 2**31 - 1
Quote = Callable[[str], str]


def list_objects(store: ObjectStore, _bucket: Any, request: S3Request) -> S3Response:
    """Answer ListObjects."""
    marker = request.query.get("marker", "")
    page, limit = _page(store, request, after=marker)
    quote, delimiter = _quote(request), request.query.get("delimiter", "")
    next_marker = page.last if page.truncated and delimiter else None
    elements: list[Element] = [
        *_common(request, quote, limit, prefix=request.query.get("prefix", "")),
        ("Marker", quote(marker)),
        ("NextMarker", next_marker and quote(next_marker)),
        ("IsTruncated", boolean(page.truncated)),
        *(_contents(one, quote, owner=True) for one in page.objects),
        *_prefixes(page, quote),
    ]
    return xml_response("ListBucketResult", elements)


def list_objects_v2(store: ObjectStore, _bucket: Any, request: S3Request) -> S3Response:
    """Answer ListObjectsV2."""
    token, start_after = request.query.get("continuation-token"), request.query.get("start-after")
    page, limit = _page(store, request, after=_position(token) if token else start_after or "")
    if token == "":
        raise invalid_argument("The continuation token provided is incorrect", "token", "")
    quote = _quote(request)
    next_token = _token(page.last) if page.truncated else None
    owner = request.query.get("fetch-owner", "").lower() == "true"
    elements: list[Element] = [
        *_common(request, quote, limit),
        ("KeyCount", str(page.count)),
        ("ContinuationToken", token),
        ("NextContinuationToken", next_token),
        ("StartAfter", start_after and quote(start_after)),
        ("IsTruncated", boolean(page.truncated)),
        *(_contents(one, quote, owner=owner) for one in page.objects),
        *_prefixes(page, quote),
    ]
    return xml_response("ListBucketResult", elements)


def list_versions(store: ObjectStore, _bucket: Any, request: S3Request) -> S3Response:
    """Answer ListObjectVersions."""
    key, version = request.query.get("key-marker", ""), request.query.get("version-id-marker", "")
    if version and not key:
        message = "A version-id marker cannot be specified without a key marker."
        raise invalid_argument(message, "version-id-marker", version)
    page, limit = _page(store, request, after=key, after_version=version, versions=True)
    quote = _quote(request)
    last = page.objects[-1] if page.objects else None
    is_key = last is not None and last.key == page.last
    elements: list[Element] = [
        *_common(request, quote, limit),
        *(("KeyMarker", quote(key)), ("VersionIdMarker", version)),
        ("NextKeyMarker", quote(page.last) if page.truncated else None),
        ("NextVersionIdMarker", last.version if page.truncated and last and is_key else None),
        ("IsTruncated", boolean(page.truncated)),
        *(_version(one, quote) for one in page.objects),
        *_prefixes(page, quote),
    ]
    return xml_response("ListVersionsResult", elements)


def integer(request: S3Request, name: str, default: int) -> int:
    """Return a number of the query; raises S3's error."""
    text = request.query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or int(text[:12]) > _MAX_INTEGER:
        message = f"Provided {name} not an integer or within integer range"
        raise invalid_argument(message, name, text)
    return int(text)


def boolean(value: bool) -> str:
    """Return a boolean as in XML."""
    return "true" if value else "false"


def _page(
    store: ObjectStore,
    request: S3Request,
    *,
    after: str,
    after_version: str = "",
    versions: bool = False,
) -> tuple[KeyPage, int]:
    """Return the requested page, and its maximum number of keys."""
    if request.query.get("encoding-type", "url") != "url":
        message = "Invalid Encoding Method specified in Request"
        raise invalid_argument(message, "encoding-type", request.query["encoding-type"])
    limit = integer(request, "max-keys", _LIMIT)
    query = ListQuery(
        bucket=request.bucket,
        prefix=request.query.get("prefix", ""),
        delimiter=request.query.get("delimiter", ""),
        limit=min(limit, _LIMIT),
        after=after,
        versions=versions,
        after_version=after_version,
    )
    return (store.list_keys(query) if limit else KeyPage()), limit


def _common(
    request: S3Request, quote: Quote, limit: int, prefix: str | None = None
) -> list[Element]:
    """Return elements of all lists. SDKs do not unquote the prefix of ListObjects."""
    delimiter = request.query.get("delimiter")
    return [
        ("Name", request.bucket),
        ("Prefix", quote(request.query.get("prefix", "")) if prefix is None else prefix),
        ("Delimiter", quote(delimiter) if delimiter else None),
        ("MaxKeys", str(limit)),
        ("EncodingType", request.query.get("encoding-type")),
    ]


def _contents(stored: StoredObject, quote: Quote, *, owner: bool) -> Element:
    attributes = stored.attributes
    elements: list[Element] = [
        *(("Key", quote(stored.key)), ("LastModified", iso_date(int(stored.modified)))),
        ("ETag", stored.etag),
        *(("ChecksumAlgorithm", name) for name in attributes.checksums),
        *(("Size", str(stored.size)), ("Owner", OWNER if owner else None)),
        ("StorageClass", attributes.headers.get("x-amz-storage-class", "STANDARD")),
    ]
    return "Contents", elements


def _version(stored: StoredObject, quote: Quote) -> Element:
    elements: list[Element] = [
        *(("Key", quote(stored.key)), ("VersionId", stored.version)),
        ("IsLatest", boolean(stored.latest)),
        *(("LastModified", iso_date(int(stored.modified))), ("Owner", OWNER)),
    ]
    if stored.marker:
        return "DeleteMarker", elements
    elements += [
        *(("ETag", stored.etag), ("Size", str(stored.size))),
        ("StorageClass", stored.attributes.headers.get("x-amz-storage-class", "STANDARD")),
    ]
    return "Version", elements


def _prefixes(page: KeyPage, quote: Quote) -> list[Element]:
    return [("CommonPrefixes", [("Prefix", quote(prefix))]) for prefix in page.prefixes]


def _quote(request: S3Request) -> Quote:
    return url_quoted if request.query.get("encoding-type") == "url" else str


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _position(token: str) -> str:
    """Return the last key or prefix of the page before; raises S3's error."""
    try:
        return base64.b64decode(token, b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        message = "The continuation token provided is incorrect"
        raise S3Error("InvalidArgument", message, 400) from error
