"""Tags, ACLs and attributes of objects."""

from __future__ import annotations

from typing import Any

from emrctl.emulator.s3.attributes import canned_acl
from emrctl.emulator.s3.errors import invalid_argument
from emrctl.emulator.s3.listing import OWNER
from emrctl.emulator.s3.objects import find, version_header
from emrctl.emulator.s3.request import S3Request, S3Response, http_date, xml_response
from emrctl.emulator.s3.store import ObjectStore
from emrctl.emulator.s3.tags import tags_of_body
from emrctl.emulator.s3.xml_text import Element

_GROUPS = "http://acs.amazonaws.com/groups/global/"
# Grants of canned ACLs to groups, in addition to the owner's.
_GRANTS = {
    "public-read": [("AllUsers", "READ")],
    "public-read-write": [("AllUsers", "READ"), ("AllUsers", "WRITE")],
    "authenticated-read": [("AuthenticatedUsers", "READ")],
}
_ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")


def get_tagging(store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer GetObjectTagging."""
    stored = find(store, request)
    tags = [
        ("Tag", [("Key", key), ("Value", value)]) for key, value in stored.attributes.tags.items()
    ]
    return xml_response("Tagging", [("TagSet", tags)], version_header(bucket, stored))


def put_tagging(store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer PutObjectTagging."""
    stored = find(store, request)
    stored.attributes.tags = tags_of_body(request)
    store.update(request.bucket, stored)
    return S3Response(headers=version_header(bucket, stored))


def delete_tagging(store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer DeleteObjectTagging."""
    stored = find(store, request)
    stored.attributes.tags = {}
    store.update(request.bucket, stored)
    return S3Response(status=204, headers=version_header(bucket, stored))


def get_acl(store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer GetObjectAcl."""
    stored = find(store, request)
    grants = [_grant("CanonicalUser", OWNER, "FULL_CONTROL")]
    for group, permission in _GRANTS.get(stored.attributes.acl, ()):
        grants.append(_grant("Group", [("URI", _GROUPS + group)], permission))
    elements: list[Element] = [("Owner", OWNER), ("AccessControlList", grants)]
    response = xml_response("AccessControlPolicy", elements, version_header(bucket, stored))
    for kind in ("CanonicalUser", "Group"):
        attribute = (
            f'Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="{kind}"'
        )
        response.body = response.body.replace(f"<{kind}>".encode(), f"<{attribute}>".encode())
        response.body = response.body.replace(f"</{kind}>".encode(), b"</Grantee>")
    return response


def _grant(kind: str, grantee: list[Element], permission: str) -> Element:
    return "Grant", [(kind, grantee), ("Permission", permission)]


def put_acl(store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer PutObjectAcl: canned ACLs are stored, others are accepted."""
    stored = find(store, request)
    stored.attributes.acl = canned_acl(request, bucket)
    store.update(request.bucket, stored)
    return S3Response(headers=version_header(bucket, stored))


def get_attributes(store: ObjectStore, bucket: Any, request: S3Request) -> S3Response:
    """Answer GetObjectAttributes."""
    stored = find(store, request)
    wanted = [one.strip() for one in request.headers.get("x-amz-object-attributes", "").split(",")]
    unknown = [one for one in wanted if one not in _ATTRIBUTES]
    if unknown:
        raise invalid_argument("Invalid attribute name specified.", "attributes", unknown[0])
    attributes = stored.attributes
    values: dict[str, Any] = {
        "ETag": stored.etag.strip('"'),
        "Checksum": [(f"Checksum{name}", value) for name, value in attributes.checksums.items()],
        "ObjectParts": [("PartsCount", str(len(attributes.parts)))] if attributes.parts else None,
        "StorageClass": attributes.headers.get("x-amz-storage-class", "STANDARD"),
        "ObjectSize": str(stored.size),
    }
    if values["Checksum"]:
        kind = attributes.checksum_type or "FULL_OBJECT"
        values["Checksum"].append(("ChecksumType", kind))
    elements = [(name, values[name]) for name in _ATTRIBUTES if name in wanted and values[name]]
    headers = {
        "Last-Modified": http_date(int(stored.modified)),
        **version_header(bucket, stored),
    }
    return xml_response("GetObjectAttributesResponse", elements, headers)
