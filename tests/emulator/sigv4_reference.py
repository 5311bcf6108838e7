"""Signature Version 4 as AWS documents it, for requests quoted as each SDK quotes them."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import io
from dataclasses import dataclass, field
from typing import Any

TIME, HTTP_TIME = "%Y%m%dT%H%M%SZ", "%a, %d %b %Y %H:%M:%S GMT"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it is sent, and path and query as the client signs them (default: as sent)."""

    method: str = "GET"
    path: str
    query: str = ""
    signed_path: str = ""
    signed_query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def sign(self, host: str, key: str, secret: str, service: str = "s3") -> dict[str, str]:
        """Return the headers with the signature; add X-Amz-Date unless there is a Date."""
        now = dt.datetime.now(dt.UTC)
        headers = {"host": host, **self.headers}
        if "date" not in headers:
            headers["x-amz-date"] = now.strftime(TIME)
        names = ";".join(sorted(headers))
        payload = headers.get("x-amz-content-sha256") or hashlib.sha256(self.body).hexdigest()
        canonical = [
            *(self.method, self.signed_path or self.path, self.signed_query or self.query),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            *("", names, payload),
        ]
        scope = f"{now:%Y%m%d}/us-east-1/{service}/aws4_request"
        digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
        stamp = headers.get("x-amz-date") or dt.datetime.strptime(  # noqa: DTZ007 - GMT
            headers["date"], HTTP_TIME
        ).strftime(TIME)
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        signing = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            signing = hmac.digest(signing, part.encode(), "sha256")
        signature = hmac.new(signing, text.encode(), "sha256").hexdigest()
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={key}/{scope},SignedHeaders={names},Signature={signature}"
        )
        return {**headers, "authorization": authorization}

    def environ(self, headers: dict[str, str]) -> dict[str, Any]:
        """Return the WSGI environment of the request with these headers."""
        names = {f"HTTP_{name.upper().replace('-', '_')}": headers[name] for name in headers}
        return {
            "REQUEST_METHOD": self.method,
            "RAW_URI": f"{self.path}?{self.query}",
            "QUERY_STRING": self.query,
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.input": io.BytesIO(self.body),
            **names,
        }


def chunked(body: bytes, *, signed: bool, trailer: str = "") -> bytes:
    """Return the body in two chunks with the encoding `aws-chunked`."""
    extension = f";chunk-signature={'0' * 64}" if signed else ""
    half = len(body) // 2
    lines = [
        f"{len(part):x}{extension}\r\n".encode() + part + b"\r\n"
        for part in (body[:half], body[half:])
    ]
    end = f"0{extension}\r\n" + (f"{trailer}\r\n" if trailer else "") + "\r\n"
    return b"".join(lines) + end.encode()
