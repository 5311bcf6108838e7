from __future__ import annotations

import datetime as dt
import io
import json
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emrctl.emulator.server.sigv4 import SignatureCheck
from tests.emulator.sigv4_reference import HTTP_TIME, Request

KEY, SECRET, PORT = "AKIAABCDEFGHIJKLMNOP", "s3cr3t", 5555
ENDPOINT = f"http://127.0.0.1:{PORT}"


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    start("200 OK", [])
    return [b"inside " + environ["wsgi.input"].read()]


def ask(environ: dict[str, Any], **options: Any) -> tuple[str, bytes]:
    seen: list[str] = []
    guard = SignatureCheck(
        inner=application, access_key=KEY, secret_key=SECRET, port=PORT, **options
    )
    body = guard(environ, lambda status, _headers: seen.append(status))
    return seen[0], b"".join(body)


def environ(request: AWSRequest, body: bytes = b"") -> dict[str, Any]:
    prepared = request.prepare()
    parts = urllib.parse.urlsplit(prepared.url)
    raw = parts.path + (f"?{parts.query}" if parts.query else "")
    found = {
        "REQUEST_METHOD": prepared.method,
        "RAW_URI": raw,
        "PATH_INFO": urllib.parse.unquote(parts.path),
        "QUERY_STRING": parts.query,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "HTTP_HOST": parts.netloc,
    }
    for name, value in prepared.headers.items():
        raw_value: Any = value  # botocore's signers write text or bytes
        text = raw_value.decode() if isinstance(raw_value, bytes) else str(raw_value)
        key = name.upper().replace("-", "_")
        plain = key in ("CONTENT_TYPE", "CONTENT_LENGTH")
        found[key if plain else f"HTTP_{key}"] = text
    return found


def signed(
    method: str = "GET",
    path: str = "/pets/a%20b/%C3%A4%2Bc~d?list-type=2&prefix=a%2Fb",
    body: bytes = b"",
    signer: Any = S3SigV4Auth,
    secret: str = SECRET,
    service: str = "s3",
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    request = AWSRequest(method=method, url=ENDPOINT + path, data=body, headers=headers or {})
    signer(Credentials(KEY, secret), service, "us-east-1").add_auth(request)
    return environ(request, body)


def test_signed_request_passes_with_body() -> None:
    assert ask(signed("PUT", body=b"content")) == ("200 OK", b"inside content")


def ask_reference(request: Request, service: str = "s3") -> str:
    return ask(request.environ(request.sign(f"127.0.0.1:{PORT}", KEY, SECRET, service)))[0]


@pytest.mark.parametrize(
    ("sent", "signed_as"),
    [
        ("prefix=data+folder%2FGreat+Pyrenees", "prefix=data%20folder%2FGreat%20Pyrenees"),
        ("prefix=a%20b", "prefix=a%20b"),
        ("prefix=a%2Bb+c", "prefix=a%2Bb%20c"),
        ("prefix=gr%c3%b6%C3%9Fe", "prefix=gr%C3%B6%C3%9Fe"),
        ("prefix=a*b%7E(c)", "prefix=a%2Ab~%28c%29"),
        ("prefix=a/b:c@d", "prefix=a%2Fb%3Ac%40d"),
        ("prefix=%FF", "prefix=%FF"),
        ("prefix=a%2541", "prefix=a%2541"),
        ("uploads", "uploads="),
        ("prefix=b&list-type=2&prefix=a", "list-type=2&prefix=a&prefix=b"),
    ],
)
def test_query_is_signed_in_standard_quoting(sent: str, signed_as: str) -> None:
    request = Request(path="/pets/", query=sent, signed_query=signed_as)
    assert ask_reference(request) == "200 OK"


def test_plus_in_query_is_a_space_and_not_a_plus() -> None:
    request = Request(path="/pets/", query="prefix=a+b", signed_query="prefix=a%2Bb")
    assert ask_reference(request) == "403 Forbidden"


@pytest.mark.parametrize(
    ("sent", "signed_as"),
    [
        ("/pets/a(b)'c!*", "/pets/a%28b%29%27c%21%2A"),
        ("/pets/a(b)'c!*", "/pets/a(b)'c!*"),
        ("/pets/gr%c3%b6%c3%9fe", "/pets/gr%C3%B6%C3%9Fe"),
        ("/pets/a//b/../c", "/pets/a//b/../c"),
        ("/pets/%2541", "/pets/%2541"),
        ("/pets/a%2Fb", "/pets/a%2Fb"),
    ],
)
def test_path_of_s3_is_signed_as_sent_or_in_standard_quoting(sent: str, signed_as: str) -> None:
    assert ask_reference(Request(path=sent, signed_path=signed_as)) == "200 OK"
    assert ask_reference(Request(path=sent, signed_path="/pets/other")) == "403 Forbidden"


@pytest.mark.parametrize("sent", ["/tags/a%20b%3Ac", "/tags/a%20b:c"])
def test_path_of_other_services_is_signed_quoted_twice(sent: str) -> None:
    twice = Request(path=sent, signed_path="/tags/a%2520b%253Ac")
    assert ask_reference(twice, "backup") == "200 OK"
    once = Request(path=sent, signed_path="/tags/a%20b%3Ac")
    assert ask_reference(once, "backup") == "403 Forbidden"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"},
        {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
        {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"},
        {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
    ],
)
def test_payload_hash_may_be_stated_in_any_form(headers: dict[str, str]) -> None:
    request = Request(method="PUT", path="/pets/a", headers=headers, body=b"content")
    assert ask_reference(request) == "200 OK"


def test_date_header_replaces_amz_date() -> None:
    headers = {"date": dt.datetime.now(dt.UTC).strftime(HTTP_TIME)}
    assert ask_reference(Request(path="/pets/a", headers=headers)) == "200 OK"


def test_services_except_s3_quote_path_twice() -> None:
    target = {"X-Amz-Target": "ElasticMapReduce.ListClusters"}
    request = signed("POST", "/a%20b//c", b"{}", SigV4Auth, service="elasticmapreduce")
    assert ask(request)[0] == "200 OK"
    plain = signed("POST", "/", b"{}", SigV4Auth, service="elasticmapreduce", headers=target)
    assert ask(plain) == ("200 OK", b"inside {}")


def test_presigned_url_is_valid_until_it_expires() -> None:
    request = AWSRequest(method="GET", url=f"{ENDPOINT}/pets/ä?x=1", headers={})
    S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", "us-east-1", expires=60).add_auth(request)
    found = environ(request)
    assert ask(dict(found))[0] == "200 OK"
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    assert b"RequestTimeTooSkewed" in ask(dict(found), now=lambda: later)[1]


def test_presigned_url_of_version_2_is_valid_until_it_expires() -> None:
    headers = {"Content-Type": "text/plain", "x-amz-meta-a": "b"}
    url = f"{ENDPOINT}/pets/a%20b?response-content-type=a%2Fb&x-id=GetObject"
    request = AWSRequest(method="PUT", url=url, headers=headers)
    HmacV1QueryAuth(Credentials(KEY, SECRET), expires=60).add_auth(request)
    found = environ(request) | {"CONTENT_TYPE": "text/plain", "HTTP_X_AMZ_META_A": "b"}
    assert ask(dict(found))[0] == "200 OK"
    assert b"SignatureDoesNotMatch" in ask(found | {"HTTP_X_AMZ_META_A": "c"})[1]
    assert b"SignatureDoesNotMatch" in ask(found | {"RAW_URI": "/pets/other"})[1]
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    assert b"AccessDenied" in ask(dict(found), now=lambda: later)[1]


@pytest.mark.parametrize(("signed", "sent", "valid"), [("b/", "b", True), ("b/k/", "b/k", False)])
def test_version_2_signs_slash_after_bucket_only(signed: str, sent: str, valid: bool) -> None:
    request = AWSRequest(method="GET", url=f"{ENDPOINT}/{signed}")
    HmacV1QueryAuth(Credentials(KEY, SECRET), expires=60).add_auth(request)
    assert request.url is not None
    request.url = request.url.replace(f"/{signed}?", f"/{sent}?")
    assert ask(environ(request))[0] == ("200 OK" if valid else "403 Forbidden")


def test_signature_is_valid_for_15_minutes() -> None:
    for minutes in (-16, 16):
        then = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
        assert ask(signed(), now=lambda then=then: then)[0] == "403 Forbidden"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"HTTP_AUTHORIZATION": ""}, b"AccessDenied"),
        ({"HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=x"}, b"IncompleteSignature"),
        ({"HTTP_AUTHORIZATION": "Basic cm9vdDpyb290"}, b"AccessDenied"),
        ({"RAW_URI": "/pets/other"}, b"SignatureDoesNotMatch"),
        ({"QUERY_STRING": "list-type=2&prefix=b"}, b"SignatureDoesNotMatch"),
        ({"REQUEST_METHOD": "DELETE"}, b"SignatureDoesNotMatch"),
        ({"HTTP_X_AMZ_CONTENT_SHA256": "0" * 64}, b"SignatureDoesNotMatch"),
        ({"HTTP_X_AMZ_DATE": "20200101T000000Z"}, b"RequestTimeTooSkewed"),
        ({"HTTP_X_AMZ_DATE": "yesterday"}, b"AccessDenied"),
    ],
)
def test_changed_request_is_rejected(change: dict[str, str], code: bytes) -> None:
    status, body = ask(signed() | change)
    assert status == "403 Forbidden"
    assert code in body


def test_other_credentials_are_rejected() -> None:
    assert b"SignatureDoesNotMatch" in ask(signed(secret="guess"))[1]
    request = signed()
    request["HTTP_AUTHORIZATION"] = request["HTTP_AUTHORIZATION"].replace(KEY, "AKIA" + "X" * 16)
    assert b"InvalidClientTokenId" in ask(request)[1]


@pytest.mark.parametrize(
    "change",
    [
        {"HTTP_HOST": "evil.example:5555"},
        {"HTTP_HOST": "127.0.0.1:5556"},
        {"HTTP_HOST": "127.0.0.1.evil.example:5555"},
        {"HTTP_HOST": ""},
        {"HTTP_ORIGIN": "http://evil.example"},
        {"HTTP_ORIGIN": "http://127.0.0.1:8000"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
    ],
)
def test_cross_origin_request_is_rejected(change: dict[str, str]) -> None:
    assert ask(signed() | change)[0] == "403 Forbidden"


def test_s3_control_host_is_accepted() -> None:
    request = AWSRequest(method="GET", url=f"http://123456789012.127.0.0.1:{PORT}/v20180820/tags/a")
    SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1").add_auth(request)
    assert ask(environ(request))[0] == "200 OK"


def test_errors_use_the_format_of_the_service() -> None:
    request = signed(secret="guess") | {"HTTP_X_AMZ_TARGET": "ElasticMapReduce.ListClusters"}
    body = json.loads(ask(request)[1])
    assert body["__type"] == "SignatureDoesNotMatch"
    assert body["Message"]
    assert ask(signed("HEAD", secret="guess"))[1] == b""
