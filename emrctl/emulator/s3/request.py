"""A request to S3 and its response."""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from emrctl.emulator.s3.errors import S3Error, malformed_xml
from emrctl.emulator.s3.xml_text import Element, document, parse
from emrctl.emulator.server.sigv4 import (
    HEADERS_KEY,
    REGION_KEY,
    Environ,
    HttpError,
    raw_path,
    read_body,
)

# Bodies that are XML, such as a list of 1,000 keys to delete.
_XML_BYTES = 4 << 20
_KEY_BYTES = 1024
# Parameters of SDKs and of the signature (version 2), which belong to no operation.
_OF_SDK = frozenset({"x-id", "AWSAccessKeyId", "Signature", "Expires"})


@dataclass(frozen=True, kw_only=True)
class S3Request:
    """A request to a bucket or an object (`key` is not empty), with a valid signature."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    region: str
    environ: Environ

    @property
    def parameters(self) -> Mapping[str, str]:
        """The query without parameters of the signature and of the SDK."""
        return {
            name: value
            for name, value in self.query.items()
            if name not in _OF_SDK and not name.startswith("X-Amz-")
        }

    def header(self, name: str) -> str:
        """Return a header's value as text, or an empty text; WSGI has it as Latin-1."""
        value = self.headers.get(name, "")
        return value if value.isascii() else value.encode("latin-1").decode("utf-8", "replace")

    def xml(self, root: str) -> Mapping[str, Any]:
        """Return the body's XML document, whose root has this name; raises S3's error."""
        try:
            length = int(self.environ.get("CONTENT_LENGTH") or 0)
            if length > _XML_BYTES:
                raise malformed_xml()
            body = read_body(self.environ)
        except HttpError as error:
            raise S3Error(error.code, error.message, error.status) from error
        return parse(body, root)


@dataclass(kw_only=True)
class S3Response:
    """A response; `body` is the content or an iterable of blocks."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = b""


def xml_response(
    root: str, elements: Iterable[Element], headers: Mapping[str, str] | None = None
) -> S3Response:
    """Return a response with an XML document."""
    headers = {"Content-Type": "application/xml", **(headers or {})}
    return S3Response(headers=headers, body=document(root, elements))


def parse_request(environ: Environ) -> S3Request:
    """Return the request with bucket and key from the path; raises S3's error."""
    bucket, _, key = raw_path(environ).lstrip("/").partition("/")
    query = environ.get("QUERY_STRING", "")
    name = urllib.parse.unquote_to_bytes(key)
    if len(name) > _KEY_BYTES:
        raise S3Error(
            "KeyTooLongError",
            "Your key is too long",
            400,
            Size=str(len(name)),
            MaxSizeAllowed=str(_KEY_BYTES),
        )
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI", "Couldn't parse the specified URI.", 400) from error
    return S3Request(
        method=environ["REQUEST_METHOD"],
        bucket=urllib.parse.unquote(bucket),
        key=text,
        query=dict(urllib.parse.parse_qsl(query, keep_blank_values=True)) if query else {},
        headers=environ[HEADERS_KEY],
        region=environ.get(REGION_KEY, "us-east-1"),
        environ=environ,
    )


@functools.lru_cache(maxsize=512)
def http_date(second: int) -> str:
    """Return a time as in the header Last-Modified."""
    return formatdate(second, usegmt=True)


@functools.lru_cache(maxsize=512)
def iso_date(second: int) -> str:
    """Return a time as in S3's XML."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
