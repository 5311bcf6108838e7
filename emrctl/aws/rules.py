"""Rules of AWS for values of a spec, which the spec, the preflight and the emulator check.

Each function returns why AWS rejects a value, or an empty text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

# AWS's limit for one resource.
MAX_TAGS = 50
_TAG_CHARACTERS = re.compile(r"[\w .:/=+\-@]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BUCKET_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_BUCKET_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def tag_key_fault(key: str) -> str:
    """Check the key of a tag."""
    if not 1 <= len(key) <= 128:
        return "the key of a tag has 1 to 128 characters"
    return _tag_fault(key)


def tag_value_fault(value: str) -> str:
    """Check the value of a tag."""
    return (
        "the value of a tag has at most 256 characters" if len(value) > 256 else _tag_fault(value)
    )


def _tag_fault(text: str) -> str:
    if text.lower().startswith("aws:"):
        return "the prefix aws: is reserved by AWS"
    rest = _TAG_CHARACTERS.sub("", text)
    if rest:
        return f"a tag has only letters, digits, spaces and _ . : / = + - @, without {rest[0]!r}"
    return ""


def bucket_fault(name: str) -> str:
    """Check the name of a general purpose bucket."""
    if not _BUCKET.fullmatch(name):
        return (
            "a bucket name has 3 to 63 lower-case letters, digits, dots and hyphens, and begins "
            "and ends with a letter or digit"
        )
    if ".." in name:
        return "a bucket name has no adjacent dots"
    if name.startswith(_BUCKET_PREFIXES) or name.endswith(_BUCKET_SUFFIXES):
        fixes = ", ".join((*_BUCKET_PREFIXES, *_BUCKET_SUFFIXES))
        return f"a bucket name cannot begin or end with {fixes}, which S3 reserves"
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return ""
    return "a bucket name is not an IP address"


def tags_fault(keys: Sequence[str]) -> tuple[str, str] | None:
    """Return the key that AWS rejects beside the others, and the reason."""
    again = repeated(key.lower() for key in keys)
    if again:
        key = keys[again[0]]
        return key, "keys of tags differ in more than upper and lower case, which IAM ignores"
    if len(keys) > MAX_TAGS:
        return keys[-1], f"a resource has at most {MAX_TAGS} tags"
    return None


def repeated(names: Iterable[str]) -> tuple[int, str] | None:
    """Return the index of the first name that occurred before, and the name."""
    seen = set[str]()
    for index, name in enumerate(names):
        if name in seen:
            return index, name
        seen.add(name)
    return None


def script_fault(content: bytes) -> tuple[int, str] | None:
    """Return the line, counted from 1, and the reason why a node cannot run a script."""
    if not content.startswith(b"#!"):
        return 1, "the first line of a bootstrap script must be an interpreter, as #!/bin/bash"
    head, found, _ = content.partition(b"\r\n")
    if found:
        return head.count(b"\n") + 1, "the line ends with CR and LF, and Linux expects LF"
    return None
