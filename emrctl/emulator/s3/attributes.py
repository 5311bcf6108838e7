"""An object's headers and metadata, from requests and in responses."""

from __future__ import annotations

from typing import Any

from emrctl.emulator.s3.errors import S3Error, invalid_argument
from emrctl.emulator.s3.index import Attributes, StoredObject
from emrctl.emulator.s3.request import S3Request, http_date
from emrctl.emulator.s3.tags import tags_of_header

_META = "x-amz-meta-"
_METADATA_BYTES = 2048
_SSE = "x-amz-server-side-encryption"
_STORAGE_CLASS = "x-amz-storage-class"
# Headers of a request that S3 stores and returns with the object.
_STORED = {
    "content-type": "Content-Type",
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "expires": "Expires",
    "x-amz-website-redirect-location": "x-amz-website-redirect-location",
    _STORAGE_CLASS: _STORAGE_CLASS,
    _SSE: _SSE,
    f"{_SSE}-aws-kms-key-id": f"{_SSE}-aws-kms-key-id",
    f"{_SSE}-bucket-key-enabled": f"{_SSE}-bucket-key-enabled",
    f"{_SSE}-customer-algorithm": f"{_SSE}-customer-algorithm",
    f"{_SSE}-customer-key-md5": f"{_SSE}-customer-key-MD5",
}
_STORAGE_CLASSES = (
    *("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"),
    *(
        "GLACIER",
        "DEEP_ARCHIVE",
        "OUTPOSTS",
        "GLACIER_IR",
        "SNOW",
        "EXPRESS_ONEZONE",
        "FSX_OPENZFS",
    ),
)
# Parameters of GetObject that replace headers of the response.
_OVERRIDES = (
    *("content-type", "content-language", "expires", "cache-control", "content-disposition"),
    "content-encoding",
)
CANNED_ACLS = (
    *("private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read"),
    *("bucket-owner-read", "bucket-owner-full-control"),
)


def metadata_attributes(request: S3Request, bucket: Any) -> Attributes:
    """Return the attributes of a new object from the request's headers; raises S3's error."""
    names = request.headers.keys() & _STORED.keys()
    headers = {name: request.header(name) for name in names}
    if "content-encoding" in headers:
        codings = [one.strip() for one in headers["content-encoding"].split(",")]
        headers["content-encoding"] = ",".join(one for one in codings if one != "aws-chunked")
        if not headers["content-encoding"]:
            del headers["content-encoding"]
    if headers.get(_STORAGE_CLASS, "STANDARD") not in _STORAGE_CLASSES:
        message = "The storage class you specified is not valid"
        raise S3Error("InvalidStorageClass", message, 400)
    if _SSE not in headers and f"{_SSE}-customer-algorithm" not in headers:
        headers |= _default_encryption(bucket)
    tags = tags_of_header(request) if "x-amz-tagging" in request.headers else {}
    return Attributes(
        headers=headers, metadata=_metadata(request), tags=tags, acl=canned_acl(request, bucket)
    )


def _metadata(request: S3Request) -> dict[str, str]:
    """Return the user's metadata; raises S3's error above 2 KB."""
    names = [name for name in request.headers if name.startswith(_META)]
    metadata = {name[len(_META) :]: request.header(name) for name in names}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > _METADATA_BYTES:
        message = "Your metadata headers exceed the maximum allowed metadata size"
        limit = str(_METADATA_BYTES)
        raise S3Error("MetadataTooLarge", message, 400, Size=str(size), MaxSizeAllowed=limit)
    return metadata


def _default_encryption(bucket: Any) -> dict[str, str]:
    """Return the headers of the bucket's default encryption."""
    rules = (bucket.encryption or {}).get("Rule") or {}
    rule = rules[0] if isinstance(rules, list) else rules
    default = rule.get("ApplyServerSideEncryptionByDefault") or {}
    headers = {_SSE: default.get("SSEAlgorithm") or "AES256"}
    if default.get("KMSMasterKeyID"):
        headers[f"{_SSE}-aws-kms-key-id"] = default["KMSMasterKeyID"]
    return headers


def canned_acl(request: S3Request, bucket: Any) -> str:
    """Return the request's canned ACL, or an empty text; raises S3's error if it is not allowed."""
    acl = request.headers.get("x-amz-acl", "")
    if acl and acl not in CANNED_ACLS:
        raise invalid_argument("", "x-amz-acl", acl)
    grants = any(name.startswith("x-amz-grant-") for name in request.headers)
    if bucket.ownership_rule == "BucketOwnerEnforced" and (
        grants or acl not in ("", "bucket-owner-full-control")
    ):
        message = "The bucket does not allow ACLs"
        raise S3Error("AccessControlListNotSupported", message, 400)
    return acl


def representation_headers(request: S3Request, stored: StoredObject) -> dict[str, str]:
    """Return the headers of GetObject and HeadObject, with the overrides of the request."""
    attributes = stored.attributes
    headers = {
        "Last-Modified": http_date(int(stored.modified)),
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",
    }
    for name, value in attributes.headers.items():
        if (name, value) != (_STORAGE_CLASS, "STANDARD"):
            headers[_STORED[name]] = _latin(value)
    for name, value in attributes.metadata.items():
        headers[_META + name] = _latin(value)
    if attributes.tags:
        headers["x-amz-tagging-count"] = str(len(attributes.tags))
    for name in _OVERRIDES if request.query else ():
        if value := request.query.get(f"response-{name}", ""):
            headers[_STORED[name]] = _latin(value)
    return headers


def encryption_headers(attributes: Attributes) -> dict[str, str]:
    """Return the headers that tell how the object is encrypted."""
    headers = attributes.headers.items()
    return {_STORED[name]: value for name, value in headers if name.startswith(_SSE)}


def _latin(value: str) -> str:
    """Return the text as the server sends it: its UTF-8 bytes, read as Latin-1."""
    return value if value.isascii() else value.encode().decode("latin-1")
