"""Who may speak to the emulator: its user, and no web page in that user's browser.

A port on loopback is open to every process of the machine and, through tricks with names and
forms, to every page that a browser shows. So each request must be signed with the emulator's own
access key, as AWS asks for (Signature Version 4, in the header or in the query), name this very
host, and come from no other origin.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import io
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

# How far apart a caller's clock and ours may be; AWS says the same.
_SKEW = dt.timedelta(minutes=15)
_TIME = "%Y%m%dT%H%M%SZ"
_SCHEME = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class RejectedRequestError(Exception):
    """Why a request is refused, in AWS's words."""

    code: str
    message: str
    status: int = 403


@dataclass(frozen=True)
class Signature:
    """What a request says of its own signature."""

    access_key: str
    date: str
    region: str
    service: str
    headers: tuple[str, ...]
    value: str
    presigned: bool


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A WSGI application that lets only the emulator's user through to `inner`."""

    inner: Application
    access_key: str
    secret_key: str
    port: int
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The inner application's answer, or AWS's error."""
        try:
            check_origin(environ, self.port)
            self.check_signature(environ)
        except RejectedRequestError as refusal:
            return refuse(environ, start_response, refusal)
        return self.inner(environ, start_response)

    def check_signature(self, environ: Environ) -> None:
        """`RefusedError` unless the request is signed with our key, and lately."""
        signature = read_signature(environ)
        if not hmac.compare_digest(signature.access_key.encode(), self.access_key.encode()):
            raise RejectedRequestError(
                "InvalidClientTokenId", "The security token included is not ours."
            )
        when = self._check_time(environ, signature)
        expected = self._sign(environ, signature, when)
        if not hmac.compare_digest(expected, signature.value):
            raise RejectedRequestError(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the one you provided.",
            )

    def _check_time(self, environ: Environ, signature: Signature) -> str:
        query = _query(environ)
        stamp = query.get("X-Amz-Date", "") if signature.presigned else _date_header(environ)
        try:
            when = dt.datetime.strptime(stamp, _TIME).replace(tzinfo=dt.UTC)
            lasts = dt.timedelta(seconds=int(query.get("X-Amz-Expires", "0")))
        except ValueError as error:
            raise RejectedRequestError("AccessDenied", "The request has no valid date.") from error
        late = when + (lasts if signature.presigned else _SKEW)
        if not when - _SKEW <= self.now() <= late or stamp[:8] != signature.date:
            raise RejectedRequestError(
                "RequestTimeTooSkewed", "The request has expired or lies ahead."
            )
        return stamp

    def _sign(self, environ: Environ, signature: Signature, stamp: str) -> str:
        credentials = Credentials(self.access_key, self.secret_key)
        signer = SigV4Auth(credentials, signature.service, signature.region)
        request = AWSRequest(method=environ["REQUEST_METHOD"], url="http://127.0.0.1/")
        request.context["timestamp"] = stamp
        text = signer.string_to_sign(request, canonical_request(environ, signature))
        signed: str = signer.signature(text, request)
        return signed


def check_host(environ: Environ, port: int) -> None:
    """`RefusedError` where the request names another host: some name may lead here."""
    host = environ.get("HTTP_HOST", "")
    # SDKs put the account before the host when they speak to S3's control.
    ours = rf"(\d{{12}}\.)?(127\.0\.0\.1|localhost):{port}"
    if not re.fullmatch(ours, host):
        raise RejectedRequestError("AccessDenied", f"'{host}' is not this emulator.")


def check_origin(environ: Environ, port: int) -> None:
    """`RefusedError` where another host is named, or a page of another origin asks."""
    check_host(environ, port)
    host = environ.get("HTTP_HOST", "")
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin != f"http://{host}":
        raise RejectedRequestError("AccessDenied", "Web pages of another origin may not ask.")
    if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin"):
        raise RejectedRequestError("AccessDenied", "Web pages of another site may not ask.")


def read_signature(environ: Environ) -> Signature:
    """The signature in the header or the query; `RefusedError` where there is none that we know."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if header.startswith(_SCHEME + " "):
        parts = dict(part.strip().partition("=")[::2] for part in header[len(_SCHEME) :].split(","))
        return _signature(parts, presigned=False)
    query = _query(environ)
    if query.get("X-Amz-Algorithm") == _SCHEME:
        names = ("Credential", "SignedHeaders", "Signature")
        return _signature({name: query.get(f"X-Amz-{name}", "") for name in names}, presigned=True)
    raise RejectedRequestError(
        "AccessDenied", "The request is not signed. Use the emulator's credentials."
    )


def _signature(parts: dict[str, str], *, presigned: bool) -> Signature:
    scope = parts.get("Credential", "").split("/")
    if len(scope) != 5 or not parts.get("SignedHeaders") or not parts.get("Signature"):
        raise RejectedRequestError("IncompleteSignature", "The request's signature lacks parts.")
    headers = tuple(parts["SignedHeaders"].split(";"))
    if "host" not in headers:
        raise RejectedRequestError("SignatureDoesNotMatch", "'Host' must be a signed header.")
    key, date, region, service, _ = scope
    value = parts["Signature"]
    return Signature(key, date, region, service, headers, value, presigned)


def canonical_request(environ: Environ, signature: Signature) -> str:
    """The request in the form that both sides sign."""
    path = raw_path(environ)
    if signature.service not in ("s3", "s3express"):
        # S3 signs the path as it was sent, all others normalise and quote it once more.
        path = urllib.parse.quote(normalize_url_path(path), safe="/~")
    headers = "".join(f"{name}:{_header(environ, name)}\n" for name in signature.headers)
    return "\n".join(
        [
            environ["REQUEST_METHOD"],
            path,
            _canonical_query(environ),
            headers,
            ";".join(signature.headers),
            _payload_hash(environ, signature),
        ]
    )


def raw_path(environ: Environ) -> str:
    """The path as it was sent, before anybody decoded it."""
    raw = environ.get("RAW_URI") or urllib.parse.quote(environ.get("PATH_INFO", "/"))
    parts = urllib.parse.urlsplit(raw) if "://" in raw.split("?")[0] else None
    path: str = parts.path if parts else raw.split("?", 1)[0]
    return path or "/"


def _canonical_query(environ: Environ) -> str:
    pairs = []
    for pair in environ.get("QUERY_STRING", "").split("&"):
        name, _, value = pair.partition("=")
        if name and name != "X-Amz-Signature":
            pairs.append((_requote(name), _requote(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _requote(text: str) -> str:
    # SDKs differ in what they leave bare on the wire; what is signed is always quoted like this.
    return urllib.parse.quote(urllib.parse.unquote(text), safe="-_.~")


def _payload_hash(environ: Environ, signature: Signature) -> str:
    stated: str | None = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
    if stated:
        return stated
    if signature.presigned and signature.service == "s3":
        return "UNSIGNED-PAYLOAD"
    return hashlib.sha256(read_body(environ)).hexdigest()


def read_body(environ: Environ) -> bytes:
    """The request's body, which whoever comes next can read once more."""
    if environ.get("wsgi.input_terminated"):
        body: bytes = environ["wsgi.input"].read()
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _header(environ: Environ, name: str) -> str:
    key = name.upper().replace("-", "_")
    key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
    value = str(environ.get(key, ""))
    # WSGI hands bytes over as Latin-1; what was signed is UTF-8.
    text = value.encode("latin-1", "replace").decode("utf-8", "replace")
    return " ".join(text.split())


def _date_header(environ: Environ) -> str:
    return str(environ.get("HTTP_X_AMZ_DATE", ""))


def _query(environ: Environ) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def refuse(
    environ: Environ, start_response: StartResponse, refusal: RejectedRequestError
) -> Iterable[bytes]:
    """AWS's error, in the form that the service in question uses."""
    drain(environ)
    if "HTTP_X_AMZ_TARGET" in environ:
        text = {"__type": refusal.code, "message": refusal.message, "Message": refusal.message}
        body, kind = json.dumps(text).encode(), "application/x-amz-json-1.1"
    else:
        body, kind = _xml(environ, refusal).encode(), "application/xml"
    reason = "Forbidden" if refusal.status == 403 else "Error"
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(f"{refusal.status} {reason}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _xml(environ: Environ, refusal: RejectedRequestError) -> str:
    """The error as S3 has it, as EC2 has it, or as the other services do."""
    code, message = escape(refusal.code), escape(refusal.message)
    error = f"<Code>{code}</Code><Message>{message}</Message>"
    service = environ.get("HTTP_AUTHORIZATION", "").partition("/aws4_request")[0].split("/")[-1]
    if service == "ec2":
        inner = f"<Response><Errors><Error>{error}</Error></Errors></Response>"
    elif service in ("", "s3"):
        inner = f"<Error>{error}<RequestId>local</RequestId></Error>"
    else:
        inner = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{inner}'


def drain(environ: Environ) -> None:
    """What is left of the body has been read, so that the connection can serve the next one."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return
    if 0 < length <= 1 << 20:
        environ["wsgi.input"].read(length)
