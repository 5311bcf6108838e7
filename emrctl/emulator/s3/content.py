"""The content of a request: decoded, verified and written to a file while it is read."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from emrctl.emulator.s3 import checksums
from emrctl.emulator.s3.blobs import BlobFolder, Segment
from emrctl.emulator.s3.errors import S3Error, invalid_argument
from emrctl.emulator.s3.request import S3Request

_BLOCK = 1 << 18
_MAX_BYTES = 5 << 30
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})(;[^\r\n]*)?\r?\n")
_PREFIX = "x-amz-checksum-"
# Digests by name: checksums, "MD5" and the SHA-256 that the signature contains.
_SIGNED = "signed payload"


@dataclass(frozen=True, kw_only=True)
class Content:
    """Content that was received: its file, MD5 (hexadecimal) and checksums by algorithm."""

    segment: Segment
    md5: str
    checksums: Mapping[str, str]


def receive(request: S3Request, blobs: BlobFolder, algorithm: str = "") -> Content:
    """Write the request's content to a file; delete it and raise S3's error if it is invalid.

    The checksum of `algorithm` is computed in addition to those that the request states.
    """
    content = _Reader(request, algorithm)
    segment = blobs.write(content.blocks())
    try:
        content.verify()
    except BaseException:
        blobs.delete([segment])
        raise
    values = {name: checksums.encoded(one.digest()) for name, one in content.checksums.items()}
    return Content(segment=segment, md5=content.md5.hexdigest(), checksums=values)


class _Reader:
    """Reads a request's content in blocks and updates its digests."""

    def __init__(self, request: S3Request, algorithm: str) -> None:
        self._headers = request.headers
        self._input = request.environ["wsgi.input"]
        self._payload = self._headers.get("x-amz-content-sha256", "")
        self._trailer: dict[str, str] = {}
        self._coded = self._payload.startswith("STREAMING-") or "aws-chunked" in self._headers.get(
            "content-encoding", ""
        )
        self._length = _content_length(request, coded=self._coded)
        self.md5 = hashlib.md5(usedforsecurity=False)
        names = {algorithm} if algorithm else set()
        stated = [name[len(_PREFIX) :] for name in self._headers if name.startswith(_PREFIX)]
        trailer = self._headers.get("x-amz-trailer", "").lower()
        stated += [
            trailer.removeprefix(_PREFIX),
            self._headers.get("x-amz-sdk-checksum-algorithm", ""),
        ]
        names |= {name.upper() for name in stated} & set(checksums.ALGORITHMS)
        self.checksums = {name: checksums.new(name) for name in sorted(names)}
        self._sha256 = hashlib.sha256() if _SHA256.fullmatch(self._payload) else None

    def blocks(self) -> Iterator[bytes]:
        """Yield the content; raise S3's error if it is incomplete."""
        updates: list[Callable[[bytes], object]] = [self.md5.update]
        updates += [one.update for one in self.checksums.values()]
        if self._sha256 is not None:
            updates.append(self._sha256.update)
        received = 0
        for block in self._decoded() if self._coded else self._plain(self._length):
            for update in updates:
                update(block)
            received += len(block)
            if received > _MAX_BYTES:
                message = "Your proposed upload exceeds the maximum allowed object size."
                raise S3Error("EntityTooLarge", message, 400)
            yield block
        if self._length is not None and received != self._length:
            raise _incomplete()

    def verify(self) -> None:
        """Raise S3's error unless all digests are those that the request states."""
        if self._sha256 is not None and self._sha256.hexdigest() != self._payload:
            message = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise S3Error("XAmzContentSHA256Mismatch", message, 400)
        if stated := self._headers.get("content-md5"):
            if len(_decode(stated)) != 16:
                raise S3Error("InvalidDigest", "The Content-MD5 you specified was invalid.", 400)
            if _decode(stated) != self.md5.digest():
                message = "The Content-MD5 you specified did not match what we received."
                raise S3Error("BadDigest", message, 400)
        for name, checksum in self.checksums.items():
            header = _PREFIX + name.lower()
            value = self._headers.get(header) or self._trailer.get(header)
            if value is not None:
                _compare(name, value, checksum.digest())

    def _plain(self, length: int | None) -> Iterator[bytes]:
        """Yield up to `length` bytes of the body, all of it if None."""
        left = length
        while left is None or left:
            try:
                block = self._input.read(_BLOCK if left is None else min(left, _BLOCK))
            except OSError as error:
                raise _incomplete() from error
            if not block:
                return
            if left is not None:
                left -= len(block)
            yield block

    def _decoded(self) -> Iterator[bytes]:
        """Yield the chunks of a body with the encoding `aws-chunked`, and read its trailer.

        Signatures of chunks are not verified.
        """
        while size := self._chunk_size():
            received = 0
            for block in self._plain(size):
                received += len(block)
                yield block
            if received < size or self._input.readline(3) not in (b"\r\n", b"\n"):
                raise _incomplete()
        while line := self._input.readline(8192).strip():
            name, _, value = line.decode("latin-1").partition(":")
            self._trailer[name.strip().lower()] = value.strip()

    def _chunk_size(self) -> int:
        line = self._input.readline(8192)
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise _incomplete()
        return int(match[1], 16)


def _content_length(request: S3Request, *, coded: bool) -> int | None:
    """Return the length of the decoded content; None with the transfer encoding `chunked`."""
    name = "x-amz-decoded-content-length" if coded else "content-length"
    value = request.headers.get(name)
    if value is None:
        if coded or request.environ.get("wsgi.input_terminated"):
            return None
        if request.method == "PUT":
            message = "You must provide the Content-Length HTTP header."
            raise S3Error("MissingContentLength", message, 411)
        return 0
    if not _LENGTH.fullmatch(value):
        raise invalid_argument("The content length is not valid.", name, value)
    if int(value) > _MAX_BYTES:
        message = "Your proposed upload exceeds the maximum allowed size"
        raise S3Error(
            "EntityTooLarge", message, 400, ProposedSize=value, MaxSizeAllowed=str(_MAX_BYTES)
        )
    return int(value)


def _compare(algorithm: str, value: str, digest: bytes) -> None:
    if len(_decode(value)) != len(digest):
        message = f"Value for {_PREFIX}{algorithm.lower()} header is invalid."
        raise S3Error("InvalidRequest", message, 400)
    if _decode(value) != digest:
        message = f"The {algorithm} you specified did not match the calculated checksum."
        raise S3Error("BadDigest", message, 400)


def _decode(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _incomplete() -> S3Error:
    message = "You did not provide the number of bytes specified by the Content-Length HTTP header"
    return S3Error("IncompleteBody", message, 400)
