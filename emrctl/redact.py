"""Redaction of secrets before they are stored or shown.

Used for run records, pulled logs, stored event logs, metrics, errors and `emrctl config`. What is
redacted in a record is also what `runs/submission.py` keeps out of command lines.

A value is redacted if its name is one of a secret (`is_secret_name`) or if the value has the shape
of one: an access key, a token, a private key, a URL with a password.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import operator
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar, cast

T = TypeVar("T")
REDACTED = "*********(redacted)"

# Names are compared as lower-case words joined by hyphens: `fs.s3a.secretKey` is
# `fs-s3a-secret-key`.
_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")
_SECRET_NAME = re.compile(
    r"""
    secret(?!ar) | passw(?:or)?d(?!less) | passphrase | passcode | credential | token(?!i[sz])
    | (?:access|account|admin|api|auth|client|consumer|crypto|deploy|encrypt(?:ion)?|license
        |master|private|root|secret|service|session|shared|signing|ssh|storage)-?keys?\b
    | connection-?string | \bconn-?str\b | \bwebhook | \bauthorization\b | \bmnemonic\b
    | \b(?:pwd|creds?|sas|jwt|bearer|cookie|otp|pat)\b
    | (?<!\bfirst)(?<!\bsecond)(?<!\bsingle)(?<!\bmulti)(?<!\bone)(?<!\btwo) -pass$ | ^pass$
    | \b(?:basic|http|proxy|redis|registry)-auth$
    """,
    re.VERBOSE,
)
# A name that ends in `key` is one of a secret, except after these words.
_DATA_KEYS = re.compile(
    r"aggregation|bucket|business|by|cache|clustering|column|composite|config|count|data"
    r"|dataset|date|dedup|dict|distribution|document|entity|event|feature|field|file|first"
    r"|foreign|group|grouping|hash|id|image|index|input|item|join|kafka|kms|label|last"
    r"|lookup|map|merge|message|metric|name|natural|next|num|object|order|ordering|output"
    r"|partition|path|per|prefix|primary|product|public|range|record|region|row|s3|schema"
    r"|search|shard|shuffle|sort|sorting|state|surrogate|table|time|unique|window|with"
)
# Last words of names that hold a property of a secret, not the secret.
_PROPERTY_OF_SECRET = re.compile(
    r"age|algorithm|arn|bits|class|column|columns|count|dir|disabled|duration|enabled|exception"
    r"|expiration|expires|expiry|factory|field|file|filter|folder|format|handler|helper|identifier"
    r"|interval|length|lifetime|limit|location|manager|max|min|mode|number|path|period|policy"
    r"|provider|providers|renewal|renewer|required|size|timeout|ttl|type|utils?|version"
)
_COUNTED_TOKENS = re.compile(r"\b(?:max|min|num|n|total|count|limit)-(?:\w+-)?tokens$")
# Variables of every shell, not passwords.
_HARMLESS_NAMES = frozenset({"PWD", "OLDPWD"})

_WORDS = (
    r"secret|passw(?:or)?d|passphrase|passcode|token|credentials?|access[._-]?key(?:[._-]?id)?"
    r"|api[._-]?key|account[._-]?key|private[._-]?key|signature|\bpwd|\bsas|\bsig"
)
# A secret's name, a separator and the value. Only the value is redacted, and neither
# `Tokenizer: x` nor the line number in `Token.scala:23` is one.
_VALUE = r"""(?!["']?\*{9}\(redacted\))("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s"'&;,)}\]]+)"""
_NAMED = re.compile(
    rf"((?i:{_WORDS})s?)([A-Z]\w*|[._\-][\w.\-]*|)([\"']?"
    rf"(?:\s*(?:=>?|:(?!//|\d{{1,6}}\b))\s*|\s+(?=[\"']?\S*[\d!#$%+/=]))){_VALUE}"
)
_ASSIGNED = re.compile(rf"([A-Za-z_][\w.\-]*)(=){_VALUE.replace('&', '&=')}")
_IN_JSON = re.compile(r'"([A-Za-z_][\w.\-]*)"(\s*:\s*)("(?:[^"\\\n]|\\.)*")')
# The value of a flag in a command line, also in YARN's, where every argument follows `--arg`.
_FLAGGED = re.compile(
    rf"(?<!\S)(['\"]?--?[A-Za-z][\w.\-]*['\"]?)(\s+(?:--arg\s+)?)(?!['\"]?--){_VALUE}"
)
_USER = re.compile(
    r"(://)[^/\s@\"']{1,512}@|(jdbc:oracle:\w{1,20}:)[^/\s@\"']{1,128}/[^\s@\"']{1,128}@"
)
_AUTHORIZATION = re.compile(r"\b((?:Bearer|Basic)\s+)[\w.~+/\-]{8,}=*", re.IGNORECASE)
_SHAPES = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
    r"|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w\-]{16,}"  # GitHub, GitLab
    r"|\bxox[abeprs]-[\w\-]{10,}|\bhooks\.slack\.com/services/[\w/]+"  # Slack
    r"|\bdapi[0-9a-f]{32}|\bhf_[A-Za-z]{30,}|\bnpm_\w{30,}|\bAIza[\w\-]{35}"
    r"|\bsk-[\w\-]{20,}|\b[sr]k_(?:live|test)_\w{16,}|\bSG\.[\w\-]{16,}\.[\w\-]{16,}"
    r"|\beyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*"  # a JSON web token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL,
)
_FLAG = re.compile(r"-{0,2}[A-Za-z_][\w.\-]*")
_SHORTEST = 6
# Longer texts, such as plans of queries, rarely occur twice.
_LONGEST_REMEMBERED = 1000


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a property, variable or flag of this name holds a secret."""
    if name in _HARMLESS_NAMES:
        return False
    words = [word.lower() for word in _WORD_BOUNDARY.split(name) if word]
    if not words or _PROPERTY_OF_SECRET.fullmatch(words[-1]):
        return False
    joined = "-".join(words)
    if _SECRET_NAME.search(joined):
        return not _COUNTED_TOKENS.search(joined)
    return joined.endswith("-key") and not _DATA_KEYS.fullmatch(words[-2])


def value(name: str, text_: str) -> str:
    """Return the value of a property, or `REDACTED` if its name or shape is one of a secret."""
    if text_ in {"", "true", "false"}:
        return text_
    return REDACTED if is_secret_name(name) or text(text_) != text_ else text_


def mapping(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the properties with secrets redacted, in their order."""
    return {text(name): value(name, item) for name, item in properties.items()}


def arguments(items: Iterable[str]) -> tuple[str, ...]:
    """Return a command line with secrets redacted: `--token X`, `--token=X`, `TOKEN=X`, shapes."""
    redacted: list[str] = []
    follows_name = False
    for item in items:
        name, equals, rest = item.partition("=")
        if follows_name and not item.startswith("--"):
            redacted.append(REDACTED)
        elif equals and _FLAG.fullmatch(name):
            redacted.append(f"{name}={REDACTED if is_secret_name(name) else text(rest)}")
        else:
            redacted.append(text(item))
        follows_name = item.startswith("-") and not equals and is_secret_name(item)
    return tuple(redacted)


@functools.lru_cache(maxsize=4096)
def text(value: str) -> str:
    """Return any text with the secrets in it redacted and the rest unchanged."""
    redacted = _USER.sub(lambda match: f"{match[1] or match[2]}{REDACTED}@", value)
    redacted = _NAMED.sub(_redact_value, redacted)
    if "=" in redacted:
        redacted = _ASSIGNED.sub(_redact_named, redacted)
    if "--" in redacted:
        redacted = _FLAGGED.sub(_redact_named, redacted)
    if '"' in redacted:
        redacted = _IN_JSON.sub(_redact_in_json, redacted)
    return _SHAPES.sub(REDACTED, _AUTHORIZATION.sub(rf"\1{REDACTED}", redacted))


def _redact_value(match: re.Match[str]) -> str:
    word, rest, separator, item = match.groups()
    # Not the name of a class in a log, and not a property of a secret.
    if rest and not is_secret_name(word + rest):
        return match[0]
    return f"{word}{rest}{separator}{_quoted_like(item)}"


def _redact_named(match: re.Match[str]) -> str:
    if not is_secret_name(match[1].strip("'\"")):
        return match[0]
    return f"{match[1]}{match[2]}{_quoted_like(match[3])}"


def _redact_in_json(match: re.Match[str]) -> str:
    redacted = value(match[1], match[3][1:-1])
    return match[0] if redacted != REDACTED else f'"{match[1]}"{match[2]}"{REDACTED}"'


def _quoted_like(item: str) -> str:
    quote = item[0] if item[0] in "'\"" else ""
    return f"{quote}{REDACTED}{quote}"


# A line with a secret contains one of these in lower case; most lines of logs do not.
_MARKS = (
    *(b"secret", b"pass", b"token", b"credential", b"key", b"signature", b"pwd", b"creds"),
    *(b"jwt", b"sas", b"sig", b"otp", b"pat=", b"-pat", b"_pat", b"auth", b"cookie", b"cred="),
    *(b"webhook", b"mnemonic", b"connstr", b"conn-str", b"conn_str", b"connectionstr"),
    *(b"connection-", b"connection_", b"connection.", b"bearer", b"basic ", b"@", b"akia"),
    *(b"asia", b"hooks.slack", b"dapi", b"sg.", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
    *(b"glpat", b"xox", b"hf_", b"npm_", b"aiza", b"sk-", b"sk_", b"rk_", b"eyj"),
)
_KEY_MARK = b"PRIVATE KEY-----"
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_KEY_END = re.compile(rb"-----END [A-Z ]*PRIVATE KEY-----")
_BLOCK_BYTES = 1 << 20


def stream(source: BinaryIO) -> BinaryIO:
    """Return a stream of a log's text with the secrets in it redacted; logs can be of any size."""
    return cast("BinaryIO", io.BufferedReader(_RedactedStream(source), _BLOCK_BYTES))


class _RedactedStream(io.RawIOBase):
    """Reads a text in blocks of whole lines, and redacts them."""

    def __init__(self, source: BinaryIO) -> None:
        self._blocks = _redacted_blocks(source)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = block
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _redacted_blocks(source: BinaryIO) -> Iterator[bytes]:
    rest, in_key, ended = b"", False, False
    while not ended:
        read = source.read(_BLOCK_BYTES)
        ended, block = not read, rest + read
        # A line that is longer than two blocks is redacted in pieces.
        whole = ended or (b"\n" not in block and len(block) > 2 * _BLOCK_BYTES)
        end = len(block) if whole else block.rfind(b"\n") + 1
        block, rest = block[:end], block[end:]
        if in_key:
            key_end = _KEY_END.search(block)
            in_key, block = key_end is None, block[key_end.end() :] if key_end else b""
        if _KEY_MARK in block:
            in_key = any(not match[1] for match in _PRIVATE_KEY.finditer(block))
            block = _PRIVATE_KEY.sub(REDACTED.encode() + (b"\n" if in_key else b""), block)
        yield _redact_lines(block)


def _redact_lines(block: bytes) -> bytes:
    """Return lines with the secrets in them redacted; only lines with a mark are examined."""
    lower, starts = block.lower(), set[int]()
    for mark in _MARKS:
        at = lower.find(mark)
        while at >= 0:
            starts.add(lower.rfind(b"\n", 0, at) + 1)
            end = lower.find(b"\n", at)
            at = lower.find(mark, end) if end >= 0 else -1
    pieces, done = [], 0
    for start in sorted(starts):
        end = block.find(b"\n", start)
        end = len(block) if end < 0 else end
        line = block[start:end].decode("utf-8", "surrogateescape")
        # Not cached: a log has many different lines.
        redacted = text.__wrapped__(line).encode("utf-8", "surrogateescape")
        pieces += [block[done:start], redacted]
        done = end
    return b"".join((*pieces, block[done:]))


class Redactor:
    """Redacts texts that contain the values of known secrets."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._seen: dict[str, str] = {}

    def learn(self, properties: Mapping[Any, Any]) -> None:
        """Remember the values of those properties whose names are those of secrets."""
        for name, item in properties.items():
            # Short values, numbers and names of classes occur in unrelated texts.
            if (
                isinstance(item, str)
                and len(item) >= _SHORTEST
                and not item.isdecimal()
                and item != REDACTED
                and is_secret_name(str(name))
                and not re.fullmatch(r"[\w$]+(?:\.[\w$]+){2,}", item)
            ):
                self._values.add(item)
                self._seen.clear()

    def text(self, value: str) -> str:
        """Return the text without remembered secrets and without those that look like one."""
        redacted = self._seen.get(value)
        if redacted is None:
            redacted = value
            for secret in self._values:
                redacted = redacted.replace(secret, REDACTED)
            if len(redacted) > _LONGEST_REMEMBERED:
                return text.__wrapped__(redacted)
            redacted = self._seen[value] = text(redacted)
        return redacted

    def record(self, record: T) -> T:
        """Return a dataclass with every text in it redacted, at any depth."""
        changed = {}
        for name in _text_fields(cast("Any", type(record))):
            item = getattr(record, name)
            if (redacted := self._redact(item)) is not item:
                changed[name] = redacted
        if not changed:
            return record
        return cast("T", dataclasses.replace(cast("Any", record), **changed))

    def _redact(self, item: Any) -> Any:
        """Return the same object if it contains no secret."""
        if isinstance(item, str):
            return item if (redacted := self.text(item)) == item else redacted
        if isinstance(item, tuple):
            items = tuple(self._redact(inner) for inner in item)
            return item if all(map(operator.is_, items, item)) else items
        if isinstance(item, dict):
            redacted_items = {self.text(name): self._redact(inner) for name, inner in item.items()}
            return item if redacted_items == item else redacted_items
        return self.record(item) if dataclasses.is_dataclass(item) else item


@functools.cache
def _text_fields(kind: Any) -> tuple[str, ...]:
    """Return the fields that can hold text at any depth, without `status`: one of Spark's words."""
    hints = typing.get_type_hints(kind)
    return tuple(name for name, hint in hints.items() if name != "status" and _holds_text(hint))


def _holds_text(hint: Any) -> bool:
    if hint is str:
        return True
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return bool(_text_fields(hint))
    return any(_holds_text(option) for option in typing.get_args(hint))
