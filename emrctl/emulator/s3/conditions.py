"""Conditional and range requests."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from emrctl.emulator.s3.errors import (
    S3Error,
    no_such_key,
    not_implemented,
    precondition_failed,
)
from emrctl.emulator.s3.index import StoredObject
from emrctl.emulator.s3.request import S3Request
from emrctl.emulator.s3.store import Condition

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


def not_modified(headers: Mapping[str, str], stored: StoredObject) -> bool:
    """Return whether the answer is 304; raises S3's error if a condition does not hold."""
    if (wanted := headers.get("if-match")) is not None:
        if not _matches(wanted, stored):
            raise precondition_failed("If-Match")
    elif int(stored.modified) > _time(headers.get("if-unmodified-since"), default=math.inf):
        raise precondition_failed("If-Unmodified-Since")
    if (unwanted := headers.get("if-none-match")) is not None:
        return _matches(unwanted, stored)
    return int(stored.modified) <= _time(headers.get("if-modified-since"), default=-math.inf)


def check_copy_source(headers: Mapping[str, str], source: StoredObject) -> None:
    """Raise S3's error unless the source of a copy meets the request's conditions."""
    prefix = "x-amz-copy-source-"
    names = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
    own = {name: headers[prefix + name] for name in names if prefix + name in headers}
    if own and not_modified(own, source):
        raise precondition_failed("x-amz-copy-source-If-None-Match")


def write_condition(request: S3Request) -> Condition | None:
    """Return the condition of If-Match and If-None-Match for the object that is replaced."""
    wanted, absent = request.headers.get("if-match"), request.headers.get("if-none-match")
    if absent not in (None, "*"):
        raise not_implemented("If-None-Match other than *")
    if wanted is None and absent is None:
        return None

    def check(current: StoredObject | None) -> None:
        if absent is not None and current is not None:
            raise precondition_failed("If-None-Match")
        if wanted is not None:
            _check_match(request.key, wanted, current)

    return check


def delete_condition(request: S3Request) -> Condition | None:
    """Return the condition of If-Match for the object that is deleted."""
    wanted = request.headers.get("if-match")
    if wanted is None:
        return None
    return lambda current: _check_match(request.key, wanted, current)


def _check_match(key: str, wanted: str, current: StoredObject | None) -> None:
    if current is None:
        raise no_such_key(key)
    if not _matches(wanted, current):
        raise precondition_failed("If-Match")


def _matches(wanted: str, stored: StoredObject) -> bool:
    """Return whether one of the ETags, with or without quotes, is the object's."""
    etags = {one.strip().removeprefix("W/").strip('"') for one in wanted.split(",")}
    return "*" in etags or stored.etag.strip('"') in etags


def _time(text: str | None, *, default: float) -> float:
    """Return the time of a header; `default` if it is missing or invalid, as S3 ignores it."""
    try:
        return parsedate_to_datetime(text).timestamp() if text else default
    except (ValueError, OverflowError):
        return default


def byte_range(text: str, stored: StoredObject) -> tuple[int, int] | None:
    """Return start and size of the header Range; None for the whole object.

    Several ranges and invalid ones are ignored, as S3 does. Raises S3's error if no byte is in the
    range.
    """
    match = _RANGE.fullmatch(text.replace(" ", "")) if text else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first and last and int(first) > int(last):
        return None
    if first:
        start, end = int(first), min(int(last or stored.size - 1), stored.size - 1)
    else:
        start, end = max(0, stored.size - int(last)), stored.size - 1
    if start >= stored.size or start > end:
        message = "The requested range is not satisfiable"
        size = str(stored.size)
        error = S3Error("InvalidRange", message, 416, RangeRequested=text, ActualObjectSize=size)
        error.headers = {"Content-Range": f"bytes */{size}"}
        raise error
    return start, end - start + 1
