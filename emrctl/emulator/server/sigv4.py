"""Authenticate requests: only the emulator's user, and no web page in that user's browser.

A loopback port is open to every process of the machine and, through DNS rebinding and forms, to
web pages. So each request must be signed with the emulator's access key (Signature Version 4, in
the header or the query), name this host, and not come from another origin. URLs that boto3 presigns
for S3 by default have Signature Version 2, which us-east-1 accepts too.

SDKs quote the same request differently on the wire: the Java SDK for one sends a space in the query
as `+` and signs it as `%20`. As on AWS, the quoting that is sent makes no difference.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import hmac
import io
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from xml.sax.saxutils import escape

from botocore.auth import HmacV1Auth
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

# Keys of the environment: the headers by lower-case name (optional), and the service and region of
# a request whose signature is valid.
HEADERS_KEY, SERVICE_KEY, REGION_KEY = "emrctl.headers", "emrctl.service", "emrctl.region"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

# Allowed clock skew, the same as AWS's.
_SKEW = dt.timedelta(minutes=15)
_TIME = "%Y%m%dT%H%M%SZ"
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_SCHEME = "AWS4-HMAC-SHA256"
# AWS's limit for presigned URLs of Signature Version 4.
_MAX_EXPIRES_S = 604_800
_NUMBER = re.compile(r"[0-9]{1,12}")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class HttpError(Exception):
    """An error response, with AWS's error code."""

    code: str
    message: str
    status: int = 403


@dataclass(frozen=True)
class Signature:
    """The signature of a request."""

    access_key: str
    date: str
    region: str
    service: str
    headers: tuple[str, ...]
    value: str
    presigned: bool


@dataclass(frozen=True, kw_only=True)
class SignatureCheck:
    """A WSGI application that passes only requests of the emulator's user to `inner`."""

    inner: Application
    access_key: str
    secret_key: str
    port: int
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Return the inner application's response, or an AWS error."""
        try:
            check_origin(environ, self.port)
            self.check_signature(environ)
        except HttpError as refusal:
            return refuse(environ, start_response, refusal)
        return self.inner(environ, start_response)

    def check_signature(self, environ: Environ) -> None:
        """Raise `HttpError` unless the request has a valid, recent signature."""
        query = _query(environ)
        if not environ.get("HTTP_AUTHORIZATION") and "AWSAccessKeyId" in query:
            key, value = query["AWSAccessKeyId"], query.get("Signature", "")
            signatures = self._sign_version_2(environ, query)
            environ[SERVICE_KEY], environ[REGION_KEY] = "s3", "us-east-1"
        else:
            signature = read_signature(environ)
            key, value = signature.access_key, signature.value
            environ[SERVICE_KEY], environ[REGION_KEY] = signature.service, signature.region
            signatures = self._sign(environ, signature)
        if not hmac.compare_digest(key.encode(), self.access_key.encode()):
            raise HttpError("InvalidClientTokenId", "The access key is not the emulator's.")
        if not any(hmac.compare_digest(own.encode(), value.encode()) for own in signatures):
            raise HttpError(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the one you provided.",
            )

    def _sign_version_2(self, environ: Environ, query: dict[str, str]) -> Iterator[str]:
        """Yield the signatures of a URL of S3 in Signature Version 2; raise if it has expired.

        SDKs sign `/bucket` as `/bucket/`.
        """
        expires = query.get("Expires", "")
        if not _NUMBER.fullmatch(expires) or self.now().timestamp() > int(expires):
            raise HttpError("AccessDenied", "The request has expired.")
        names = [name[5:].lower() for name in environ if name.startswith("HTTP_X_AMZ_")]
        headers = {name.replace("_", "-"): _header(environ, name) for name in sorted(names)}
        path, query_string = raw_path(environ), environ.get("QUERY_STRING", "")
        signer = HmacV1Auth(Credentials(self.access_key, self.secret_key))
        lines = [
            environ["REQUEST_METHOD"],
            *(_header(environ, name) for name in ("Content-MD5", "Content-Type")),
            expires,
            *(f"{name}:{value}" for name, value in headers.items()),
        ]
        of_bucket = path.count("/") == 1
        for signed_path in (path, f"{path}/") if of_bucket else (path,):
            url = urllib.parse.SplitResult("http", "_", signed_path, query_string, "")
            text = "\n".join([*lines, signer.canonical_resource(url)])
            signature: str = signer.sign_string(text)
            yield signature

    def _check_time(self, environ: Environ, signature: Signature) -> str:
        query = _query(environ)
        stamp = query.get("X-Amz-Date", "") if signature.presigned else _date_header(environ)
        validity = query.get("X-Amz-Expires", "0")
        if not _NUMBER.fullmatch(validity) or int(validity) > _MAX_EXPIRES_S:
            message = f"X-Amz-Expires must be a number of seconds up to {_MAX_EXPIRES_S}."
            raise HttpError("AuthorizationQueryParametersError", message, 400)
        when = _moment(stamp)
        later = dt.timedelta(seconds=int(validity)) if signature.presigned else _SKEW
        # Differences of times, since a sum may be outside the calendar.
        if not -_SKEW <= self.now() - when <= later or stamp[:8] != signature.date:
            raise HttpError("RequestTimeTooSkewed", "The request has expired or is in the future.")
        return stamp

    def _sign(self, environ: Environ, signature: Signature) -> Iterator[str]:
        """Yield the signature for each quoting of the path that AWS accepts."""
        stamp = self._check_time(environ, signature)
        scope = (signature.date, signature.region, signature.service)
        key = signing_key(self.secret_key, *scope)
        prefix = f"{_SCHEME}\n{stamp}\n{'/'.join(scope)}/aws4_request\n"
        for canonical in canonical_requests(environ, signature):
            text = prefix + hashlib.sha256(canonical.encode()).hexdigest()
            yield hmac.digest(key, text.encode(), "sha256").hex()


@functools.lru_cache(maxsize=64)
def signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """Return the key of Signature Version 4 for a day, region and service."""
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode("utf-8", "replace"), "sha256")
    return key


def _moment(stamp: str) -> dt.datetime:
    """Return the time of an X-Amz-Date; raises `HttpError`."""
    if parts := _STAMP.fullmatch(stamp):
        year, month, day, hour, minute, second = map(int, parts.groups())
        with contextlib.suppress(ValueError):
            return dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)
    raise HttpError("AccessDenied", "The request has no valid date.")


def check_host(environ: Environ, port: int) -> None:
    """Raise `HttpError` for another Host header (DNS rebinding)."""
    host = environ.get("HTTP_HOST", "")
    # SDKs put the account before the host in requests to S3 Control.
    allowed = rf"(\d{{12}}\.)?(127\.0\.0\.1|localhost):{port}"
    if not re.fullmatch(allowed, host):
        raise HttpError("AccessDenied", f"'{host}' is not this emulator's host.")


def check_origin(environ: Environ, port: int) -> None:
    """Raise `HttpError` for another host or a page of another origin."""
    check_host(environ, port)
    host = environ.get("HTTP_HOST", "")
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin != f"http://{host}":
        raise HttpError("AccessDenied", "Requests from other origins are not allowed.")
    if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin"):
        raise HttpError("AccessDenied", "Requests from other sites are not allowed.")


def read_signature(environ: Environ) -> Signature:
    """Return the signature in the header or the query; raises `HttpError`."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if header.startswith(_SCHEME + " "):
        parts = dict(part.strip().partition("=")[::2] for part in header[len(_SCHEME) :].split(","))
        return _signature(parts, presigned=False)
    query = _query(environ)
    if query.get("X-Amz-Algorithm") == _SCHEME:
        names = ("Credential", "SignedHeaders", "Signature")
        return _signature({name: query.get(f"X-Amz-{name}", "") for name in names}, presigned=True)
    raise HttpError("AccessDenied", "The request is not signed. Use the emulator's credentials.")


def _signature(parts: dict[str, str], *, presigned: bool) -> Signature:
    scope = parts.get("Credential", "").split("/")
    if len(scope) != 5 or not parts.get("SignedHeaders") or not parts.get("Signature"):
        raise HttpError("IncompleteSignature", "The request's signature is incomplete.")
    headers = tuple(parts["SignedHeaders"].split(";"))
    if "host" not in headers:
        raise HttpError("SignatureDoesNotMatch", "'Host' must be a signed header.")
    key, date, region, service, _ = scope
    value = parts["Signature"]
    return Signature(key, date, region, service, headers, value, presigned)


def canonical_requests(environ: Environ, signature: Signature) -> Iterator[str]:
    """Yield the canonical requests of Signature Version 4, one for each quoting of the path."""
    headers = "".join(f"{name}:{_header(environ, name)}\n" for name in signature.headers)
    signed = ";".join(signature.headers)
    query, payload = _canonical_query(environ), _payload_hash(environ, signature)
    method = environ["REQUEST_METHOD"]
    for path in _canonical_paths(raw_path(environ), signature.service):
        yield f"{method}\n{path}\n{query}\n{headers}\n{signed}\n{payload}"


def _canonical_paths(path: str, service: str) -> Iterable[str]:
    """Return the path as sent, and in the standard quoting; both are the same key.

    S3 signs it once quoted and as it is; other services normalize and quote it again.
    """
    spellings = dict.fromkeys((path, _quote(urllib.parse.unquote_to_bytes(path), safe="/")))
    if service in ("s3", "s3express"):
        return spellings
    return dict.fromkeys(_quote(normalize_url_path(one), safe="/") for one in spellings)


def raw_path(environ: Environ) -> str:
    """Return the path as sent, not decoded."""
    raw = environ.get("RAW_URI") or urllib.parse.quote(environ.get("PATH_INFO", "/"))
    path = str(raw).split("?", 1)[0]
    absolute = re.match(r"[^/]*://[^/]*", path)
    return (path[absolute.end() :] if absolute else path) or "/"


def _canonical_query(environ: Environ) -> str:
    pairs = []
    for pair in environ.get("QUERY_STRING", "").split("&"):
        name, _, value = pair.partition("=")
        if name and name != "X-Amz-Signature":
            pairs.append((_requote(name), _requote(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _requote(text: str) -> str:
    # A plus is a space, as in HTML forms; a literal plus is sent as %2B.
    return _quote(urllib.parse.unquote_to_bytes(text.replace("+", " ").encode("latin-1", "ignore")))


def _quote(text: str | bytes, safe: str = "") -> str:
    """Quote all but the unreserved characters, as signatures do."""
    return urllib.parse.quote(text, safe=f"-_.~{safe}")


def _payload_hash(environ: Environ, signature: Signature) -> str:
    if stated := environ.get("HTTP_X_AMZ_CONTENT_SHA256"):
        return str(stated)
    if signature.presigned and signature.service == "s3":
        return _query(environ).get("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
    return hashlib.sha256(read_body(environ)).hexdigest()


def read_body(environ: Environ) -> bytes:
    """Return the request's body and leave it readable for the next application."""
    length = str(environ.get("CONTENT_LENGTH") or "0")
    if not _NUMBER.fullmatch(length):
        raise HttpError("InvalidArgument", "Content-Length is not a number.", 400)
    try:
        if environ.get("wsgi.input_terminated"):
            body: bytes = environ["wsgi.input"].read()
        else:
            body = environ["wsgi.input"].read(int(length))
    except OSError as error:  # the chunks are invalid, or the client has closed the connection
        raise HttpError("IncompleteBody", f"The body is incomplete: {error}", 400) from error
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _header(environ: Environ, name: str) -> str:
    if (headers := environ.get(HEADERS_KEY)) is not None:
        value = str(headers.get(name.lower(), ""))
        if name == "host":  # an absolute URI replaces the header
            value = str(environ.get("HTTP_HOST", ""))
        return " ".join(value.split()) if value.isascii() else _signed_text(value)
    key = name.upper().replace("-", "_")
    key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
    return _signed_text(str(environ.get(key, "")))


def _signed_text(value: str) -> str:
    """Return a header's value as it is signed."""
    # WSGI decodes header bytes as Latin-1; signed headers are UTF-8.
    text = value.encode("latin-1", "replace").decode("utf-8", "replace")
    return " ".join(text.split())


def _date_header(environ: Environ) -> str:
    """Return X-Amz-Date, or Date in the same format."""
    if stamp := environ.get("HTTP_X_AMZ_DATE"):
        return str(stamp)
    date = environ.get("HTTP_DATE", "")
    try:
        return parsedate_to_datetime(date).astimezone(dt.UTC).strftime(_TIME)
    except (ValueError, OverflowError):
        return str(date)


def _query(environ: Environ) -> dict[str, str]:
    if not environ.get("QUERY_STRING"):
        return {}
    return dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def refuse(environ: Environ, start_response: StartResponse, refusal: HttpError) -> Iterable[bytes]:
    """Send an AWS error in the format of the requested service."""
    _drain(environ)
    if "HTTP_X_AMZ_TARGET" in environ:
        text = {"__type": refusal.code, "message": refusal.message, "Message": refusal.message}
        body, kind = json.dumps(text).encode(), "application/x-amz-json-1.1"
    else:
        body, kind = _xml(environ, refusal).encode(), "application/xml"
    reason = "Forbidden" if refusal.status == 403 else "Error"
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(f"{refusal.status} {reason}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _xml(environ: Environ, refusal: HttpError) -> str:
    """Return the error in the XML format of S3, EC2 or other services."""
    code = escape(refusal.code)
    message = escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", refusal.message))
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    service = environ.get("HTTP_AUTHORIZATION", "").partition("/aws4_request")[0].split("/")[-1]
    if service == "ec2":
        inner = f"<Response><Errors><Error>{error}</Error></Errors></Response>"
    elif service in ("", "s3"):
        inner = f"<Error>{error}<RequestId>local</RequestId></Error>"
    else:
        inner = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{inner}'


def _drain(environ: Environ) -> None:
    """Read the rest of the body, so that the connection can be reused."""
    length = str(environ.get("CONTENT_LENGTH") or "")
    if _NUMBER.fullmatch(length) and int(length) <= 1 << 20:
        with contextlib.suppress(OSError):
            environ["wsgi.input"].read(int(length))
