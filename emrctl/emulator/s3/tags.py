"""Tags of objects."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from emrctl.aws import rules
from emrctl.emulator.s3.errors import S3Error, invalid_argument
from emrctl.emulator.s3.request import S3Request
from emrctl.emulator.s3.xml_text import text_of

_LIMIT = 10


def tags_of_header(request: S3Request) -> dict[str, str]:
    """Return the tags of the header x-amz-tagging; raises S3's error."""
    text = request.header("x-amz-tagging")
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    except ValueError as error:
        message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query "
        raise invalid_argument(
            f"{message}parameters without tag name duplicates.", "x-amz-tagging", text
        ) from error
    return check_tags(pairs)


def tags_of_body(request: S3Request) -> dict[str, str]:
    """Return the tags of the request's XML; raises S3's error."""
    tag_set = request.xml("Tagging").get("TagSet") or {}
    tags = tag_set.get("Tag", []) if isinstance(tag_set, dict) else []
    return check_tags([(text_of(one, "Key"), one.get("Value") or "") for one in tags])


def check_tags(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the tags as a mapping; raises S3's error for what S3 rejects."""
    if len(pairs) > _LIMIT:
        raise S3Error("BadRequest", f"Object tags cannot be greater than {_LIMIT}", 400)
    if len({key for key, _ in pairs}) < len(pairs):
        raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key", 400)
    for key, value in pairs:
        if fault := rules.tag_key_fault(key):
            message = f"The TagKey you have provided is invalid: {fault}"
            raise S3Error("InvalidTag", message, 400, TagKey=key)
        if fault := rules.tag_value_fault(value):
            message = f"The TagValue you have provided is invalid: {fault}"
            raise S3Error("InvalidTag", message, 400, TagKey=key, TagValue=value)
    return dict(pairs)
