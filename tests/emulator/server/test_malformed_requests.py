"""Malformed signatures, tickets, headers and paths: AWS's errors, never an exception.

The requests are mutations of valid ones, with a fixed seed.
"""

from __future__ import annotations

import io
import random
import re
import time
import urllib.parse
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth, SigV4Auth

from emrctl.emulator.server import web
from tests.emulator.server.test_sigv4 import ask, signed
from tests.emulator.server.test_web import TOKEN, get

NASTY = (
    *("", " ", "é", "\xff\xfe", "\x00", "\x01", "²", "٣", "9" * 30, "9" * 5000, "-1", "1e9"),
    *("%", "%zz", "%ED%A0%80", "%00", "/", "//[", "http://[", "?", "&=", ";;", ",", "=", "a" * 900),
    *("00010101T000000Z", "99991231T235959Z", "20261127T000000Z", "AWS4-HMAC-SHA256", "../.."),
    *("Mon, 01 Jan 0001 00:00:00 +9959", "host;host", "*", "null", "{}", "[", "<&>", '"'),
)
_CHANGED = (
    *("QUERY_STRING", "CONTENT_LENGTH", "RAW_URI", "HTTP_AUTHORIZATION", "HTTP_HOST"),
    *("HTTP_X_AMZ_DATE", "HTTP_X_AMZ_CONTENT_SHA256", "HTTP_DATE", "HTTP_ORIGIN"),
)
_STATUS = re.compile(r"(200|40[0-9]|411|413|302|50[23]) ")


def presigned(signer: Any) -> dict[str, Any]:
    """Return a valid presigned request."""
    return signed(signer=lambda keys, *scope: signer(keys, *scope, expires=60), path="/pets/a")


def version_2() -> dict[str, Any]:
    """Return a valid URL in Signature Version 2."""
    return signed(signer=lambda keys, *_: HmacV1QueryAuth(keys, expires=60), path="/pets/a")


def _mutate_query(query: str, choose: random.Random) -> str:
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    if not pairs or choose.random() < 0.2:
        return query + choose.choice(NASTY)
    index = choose.randrange(len(pairs))
    name, value = pairs[index]
    pairs[index] = choose.choice(
        [(name, choose.choice(NASTY)), (choose.choice(NASTY), value), (name, value[:-1])]
    )
    if choose.random() < 0.2:
        pairs.append(pairs[index])
    return "&".join(f"{name}={value}" for name, value in pairs)


def mutated(environ: dict[str, Any], choose: random.Random) -> dict[str, Any]:
    """Return a request of which one or two parts are changed."""
    changed = dict(environ)
    for _ in range(choose.choice([1, 1, 2])):
        key = choose.choice(_CHANGED)
        value = str(changed.get(key, ""))
        if key == "QUERY_STRING":
            changed[key] = _mutate_query(value, choose)
            continue
        cut = choose.randrange(len(value) + 1)
        nasty = choose.choice(NASTY)
        changed[key] = choose.choice(
            [nasty, value[:cut] + nasty + value[cut:], f"{value}, {value}", value[:cut]]
        )
        if choose.random() < 0.1:
            del changed[key]
    return changed


@pytest.mark.parametrize(
    "valid",
    [
        lambda: signed("PUT", body=b"content"),
        lambda: signed("POST", body=b"{}", signer=SigV4Auth, service="elasticmapreduce", path="/"),
        lambda: presigned(S3SigV4QueryAuth),
        version_2,
    ],
    ids=["header", "emr", "query", "version 2"],
)
def test_mutated_signatures_are_rejected(valid: Callable[[], dict[str, Any]]) -> None:
    choose = random.Random(14)  # noqa: S311
    refused = 0
    for _ in range(400):
        status, body = ask(mutated(valid(), choose))
        assert _STATUS.match(status), status
        if not status.startswith("200") and body.startswith(b"<"):
            ET.fromstring(body)  # noqa: S314
        refused += not status.startswith("200")
    assert refused > 150


def test_expiry_beyond_limit_is_rejected() -> None:
    for expires in ("604801", "9" * 30, "9" * 5000, "-1", "²", "soon"):
        request = presigned(S3SigV4QueryAuth)
        query = request["QUERY_STRING"].replace("X-Amz-Expires=60", f"X-Amz-Expires={expires}")
        status, body = ask(request | {"QUERY_STRING": query})
        assert status.startswith("400")
        assert b"AuthorizationQueryParametersError" in body


@pytest.mark.parametrize("date", ["00010101T000000Z", "99991231T235959Z"])
def test_dates_at_the_ends_of_the_calendar_are_rejected(date: str) -> None:
    assert ask(signed() | {"HTTP_X_AMZ_DATE": date})[0] == "403 Forbidden"


def test_date_header_outside_the_calendar_is_rejected() -> None:
    request = signed() | {"HTTP_DATE": "Mon, 01 Jan 0001 00:00:00 +9959"}
    del request["HTTP_X_AMZ_DATE"]
    assert ask(request)[0] == "403 Forbidden"


class _Broken(io.BytesIO):
    def read(self, *_: Any) -> bytes:
        raise OSError("Invalid chunk header")


@pytest.mark.parametrize(
    "change",
    [
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "many"},
        {"CONTENT_LENGTH": "9" * 5000},
        {"wsgi.input": _Broken(), "wsgi.input_terminated": True},
    ],
)
def test_invalid_body_length_is_rejected(change: dict[str, Any]) -> None:
    request = signed("POST", body=b"{}", signer=SigV4Auth, service="elasticmapreduce", path="/")
    assert ask(request | change)[0].startswith("400")


def test_mutated_tickets_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = random.Random(14)  # noqa: S311
    monkeypatch.setattr(web, "fetch", lambda *_: web.PageResponse("200 OK", {}, b""))
    until = str(int(time.time()) + 60)
    to = "http://127.0.0.1:9/cluster"
    query = urllib.parse.urlencode(
        {"to": to, "until": until, "ticket": web.ticket(TOKEN, to, until)}
    )
    for _ in range(500):
        path = choose.choice(["ui", "ticket", "status", "clusters/j-1/yarn/a", "", "ui/"])
        changed = _mutate_query(query, choose)
        headers = {
            choose.choice(["HTTP_HOST", "HTTP_X_EMRCTL_TOKEN", "HTTP_ORIGIN"]): choose.choice(NASTY)
        }
        if choose.random() < 0.5:
            headers = {"HTTP_X_EMRCTL_TOKEN": choose.choice([TOKEN, "é"])}
        status, answered, _ = get(f"/emrctl/{path}?{changed}", **headers)
        assert _STATUS.match(status), status
        assert "Set-Cookie" not in answered or answered["Location"].startswith("http://")


@pytest.mark.parametrize("until", ["", "²", "9" * 5000, "-1", "soon"])
def test_ticket_with_invalid_time_is_rejected(until: str) -> None:
    to = "http://127.0.0.1:9/cluster"
    query = urllib.parse.urlencode(
        {"to": to, "until": until, "ticket": web.ticket(TOKEN, to, until)}
    )
    assert get(f"/emrctl/ui?{query}")[0] == "403 Forbidden"


def test_ticket_that_is_not_ascii_is_rejected() -> None:
    until = str(int(time.time()) + 60)
    assert get(f"/emrctl/ui?to=a&until={until}&ticket=%C3%A9")[0] == "403 Forbidden"


def test_forward_quotes_characters_that_no_url_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(url: str, _cookie: str | None) -> web.PageResponse:
        asked.append(url)
        return web.PageResponse("200 OK", {}, b"")

    monkeypatch.setattr(web, "fetch", fetch)
    get("/emrctl/clusters/j-1/yarn/a b?c=d e\xe9&f=%20", HTTP_X_EMRCTL_TOKEN=TOKEN)
    assert asked == ["http://127.0.0.1:9/a%20b?c=d%20e%C3%A9&f=%20"]
