from __future__ import annotations

import datetime as dt
import io
import json
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emrctl.emulator.server import sigv4
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


def stamp_of(request: dict[str, Any]) -> dt.datetime:
    """Return the time at which the request was signed."""
    query = dict(urllib.parse.parse_qsl(request["QUERY_STRING"]))
    stamp = request.get("HTTP_X_AMZ_DATE") or query["X-Amz-Date"]
    return dt.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(-901, "403 Forbidden"), (-900, "200 OK"), (900, "200 OK"), (901, "403 Forbidden")],
)
def test_signature_is_valid_for_15_minutes(seconds: int, status: str) -> None:
    request = signed()
    then = stamp_of(request) + dt.timedelta(seconds=seconds)
    assert ask(request, now=lambda: then)[0] == status


@pytest.mark.parametrize("expires", [60, 604_800])
def test_presigned_url_is_valid_up_to_its_last_second(expires: int) -> None:
    request = AWSRequest(method="GET", url=f"{ENDPOINT}/pets/a", headers={})
    S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", "us-east-1", expires=expires).add_auth(request)
    found = environ(request)
    for seconds, status in ((0, "200 OK"), (expires, "200 OK"), (expires + 1, "403 Forbidden")):
        then = stamp_of(found) + dt.timedelta(seconds=seconds)
        assert ask(dict(found), now=lambda then=then: then)[0] == status


def test_presigned_url_of_version_2_is_valid_up_to_its_last_second() -> None:
    request = AWSRequest(method="GET", url=f"{ENDPOINT}/pets/a", headers={})
    HmacV1QueryAuth(Credentials(KEY, SECRET), expires=60).add_auth(request)
    found = environ(request)
    expires = int(urllib.parse.parse_qs(found["QUERY_STRING"])["Expires"][0])
    for seconds, status in ((0, "200 OK"), (1, "403 Forbidden")):
        then = dt.datetime.fromtimestamp(expires + seconds, dt.UTC)
        assert ask(dict(found), now=lambda then=then: then)[0] == status
    other = {"QUERY_STRING": found["QUERY_STRING"].replace(KEY, "AKIA" + "X" * 16)}
    assert b"InvalidClientTokenId" in ask(found | other)[1]


def test_scope_of_another_day_is_rejected() -> None:
    request = signed()
    day = f"/{stamp_of(request):%Y%m%d}/"
    request["HTTP_AUTHORIZATION"] = request["HTTP_AUTHORIZATION"].replace(day, "/20200101/")
    assert b"RequestTimeTooSkewed" in ask(request)[1]


@pytest.mark.parametrize(
    "authorization",
    [
        "Credential={key}/d/r/s3,SignedHeaders=host,Signature=0",
        "Credential={key}/d/r/s3/aws4_request/x,SignedHeaders=host,Signature=0",
        "Credential={key}/d/r/s3/aws4_request,Signature=0",
        "Credential={key}/d/r/s3/aws4_request,SignedHeaders=host",
    ],
)
def test_signature_without_all_parts_is_incomplete(authorization: str) -> None:
    header = f"AWS4-HMAC-SHA256 {authorization.format(key=KEY)}"
    assert b"IncompleteSignature" in ask(signed() | {"HTTP_AUTHORIZATION": header})[1]


def test_host_must_be_a_signed_header() -> None:
    request = signed()
    header = request["HTTP_AUTHORIZATION"].replace("SignedHeaders=host;", "SignedHeaders=")
    assert b"must be a signed header" in ask(request | {"HTTP_AUTHORIZATION": header})[1]


def test_environment_names_service_and_region_of_the_signature() -> None:
    emr = signed("POST", "/", b"{}", SigV4Auth, service="elasticmapreduce")
    assert ask(emr)[0] == "200 OK"
    assert (emr["emrctl.service"], emr["emrctl.region"]) == ("elasticmapreduce", "us-east-1")
    request = AWSRequest(method="GET", url=f"{ENDPOINT}/pets/a", headers={})
    HmacV1QueryAuth(Credentials(KEY, SECRET), expires=60).add_auth(request)
    found = environ(request)
    assert ask(found)[0] == "200 OK"
    assert (found["emrctl.service"], found["emrctl.region"]) == ("s3", "us-east-1")


def test_absolute_uri_is_signed_by_its_path() -> None:
    request = signed()
    request["RAW_URI"] = f"http://127.0.0.1:{PORT}{request['RAW_URI']}"
    assert ask(request)[0] == "200 OK"
    root = signed(path="/?list-type=2")
    root["RAW_URI"] = f"http://127.0.0.1:{PORT}?list-type=2"
    assert ask(root)[0] == "200 OK"


def test_page_of_the_emulator_itself_is_no_other_origin() -> None:
    own = {"HTTP_ORIGIN": ENDPOINT, "HTTP_SEC_FETCH_SITE": "same-origin"}
    assert ask(signed() | own)[0] == "200 OK"
    assert ask(signed() | {"HTTP_SEC_FETCH_SITE": "none"})[0] == "200 OK"


def test_body_of_refused_request_is_read_up_to_1_mib() -> None:
    for size, rest in ((1 << 20, 0), ((1 << 20) + 1, (1 << 20) + 1)):
        request = signed("PUT", body=b"x" * size, secret="guess")
        assert ask(request)[0] == "403 Forbidden"
        assert len(request["wsgi.input"].read()) == rest


@pytest.mark.parametrize(
    ("service", "path"),
    [("ec2", "./Errors/Error/Code"), ("s3", "./Code"), ("iam", "./Error/Code")],
)
def test_xml_error_has_the_elements_of_the_service(service: str, path: str) -> None:
    request = signed("POST", "/", b"a=b", SigV4Auth, secret="guess", service=service)
    found = ET.fromstring(ask(request)[1]).findtext(path)  # noqa: S314
    assert found == "SignatureDoesNotMatch"


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


@pytest.mark.parametrize(
    ("sent", "signed_as"), [("a   b ", "a b"), ("gr\xc3\xb6\xc3\x9fe", "größe")]
)
def test_header_is_signed_as_utf_8_with_single_spaces(sent: str, signed_as: str) -> None:
    by_name = {sigv4.HEADERS_KEY: {"x-amz-meta-a": sent}, "HTTP_HOST": "127.0.0.1:5"}
    for found in (by_name, {"HTTP_X_AMZ_META_A": sent}):
        assert sigv4._header(found, "x-amz-meta-a") == signed_as
        assert sigv4._header(found, "x-amz-meta-b") == ""
    assert sigv4._header(by_name, "host") == "127.0.0.1:5"
