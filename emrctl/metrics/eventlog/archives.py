"""Zip and tar archives of event logs, opened as the files that are in them.

An archive is told from its first bytes, inside any of Spark's framings or gzip too. One that
cannot be read at any place, such as a pipe's, an object's of S3 or a packed one, is first written
to a temporary file. Nothing is ever written under a name from the archive.
"""

from __future__ import annotations

import functools
import io
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, Self, cast

from emrctl.errors import UsageError
from emrctl.metrics.eventlog import codecs
from emrctl.metrics.eventlog.layout import EventLogFile

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_AT, _TAR = 257, b"ustar"
_HEAD_BYTES = 1 << 16
_IN_MEMORY_BYTES = 16 << 20
_NAMES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.zstd", ".tzst")
# What zipfile and tarfile raise where an archive is damaged, cut or encrypted.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


@dataclass(frozen=True)
class UnpackedFiles:
    """The files to read, and what is amiss with the archives that they lie in."""

    parts: tuple[EventLogFile, ...]
    damage: tuple[str, ...]


@contextmanager
def opened(parts: Iterable[EventLogFile]) -> Iterator[UnpackedFiles]:
    """`parts` with what is in an archive in its place; they can be read while this is open.

    Only a part that stands alone, or is named as an archive, is looked at.
    """
    given = tuple(parts)
    with ExitStack() as stack:
        found: list[EventLogFile] = []
        damage: list[str] = []
        for part in given:
            if len(given) == 1 or part.base.lower().endswith(_NAMES):
                found += _members(part, stack, damage)
            else:
                found.append(part)
        yield UnpackedFiles(tuple(found), tuple(damage))


def _members(part: EventLogFile, stack: ExitStack, damage: list[str]) -> list[EventLogFile]:
    stream = stack.enter_context(part.open())
    head = codecs.PeekedStream(stream).read(_HEAD_BYTES)
    whole = codecs.PeekedStream(stream, head)
    try:
        if head.startswith(_ZIP):
            return _zipped(_anywhere(stream, whole, stack), stack)
        if _is_tar(head):
            return _tarred(_anywhere(stream, whole, stack), stack, damage)
        if _is_tar(_decoded_head(head)):
            blocks = codecs.Decoded(cast("BinaryIO", whole)).blocks()
            return _tarred(_spooled(blocks, stack, damage), stack, damage)
    except _DAMAGE as error:
        raise UsageError(
            f"the archive cannot be opened: {error}", hint="Pack it again, or name a log in it."
        ) from error
    return [EventLogFile(part.name, lambda: cast("BinaryIO", _Stream(whole)))]


class _Stream:
    """What is left of a stream, as a file; `CutError` where the archive around it is damaged."""

    def __init__(self, source: codecs.PeekedStream | IO[bytes]) -> None:
        self._source = source

    def read(self, size: int = -1) -> bytes:
        """`size` bytes or fewer."""
        try:
            return self._source.read(size)
        except _DAMAGE as error:
            raise codecs.CutError(f"damaged archive: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whoever opened the stream closes it: an archive is read again for its next file."""


def _is_tar(head: bytes) -> bool:
    return head[_TAR_AT:].startswith(_TAR)


def _decoded_head(head: bytes) -> bytes:
    """The first decoded bytes of a stream that begins with `head`."""
    if codecs.sniff(head[:8]) == "plain":
        return head
    found = b""
    try:
        for block in codecs.Decoded(io.BytesIO(head)).blocks():
            found += block
            if len(found) > _TAR_AT + len(_TAR):
                break
    except codecs.CutError:
        return found
    return found


def _anywhere(stream: BinaryIO, whole: codecs.PeekedStream, stack: ExitStack) -> IO[bytes]:
    """The same bytes, readable at any place."""
    if stream.seekable():
        stream.seek(0)
        return stream
    blocks = iter(lambda: whole.read(codecs.BLOCK_BYTES), b"")
    return _spooled(blocks, stack, [])


def _spooled(blocks: Iterator[bytes], stack: ExitStack, damage: list[str]) -> IO[bytes]:
    spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - the stack's
    file = stack.enter_context(spool)
    try:
        for block in blocks:
            file.write(block)
    except codecs.CutError as error:
        damage.append(f"the archive is cut: {error}")
    file.seek(0)
    return cast("IO[bytes]", file)


def _zipped(file: IO[bytes], stack: ExitStack) -> list[EventLogFile]:
    archive = stack.enter_context(zipfile.ZipFile(file))
    names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    return [_part(name, functools.partial(archive.open, name)) for name in names]


def _tarred(file: IO[bytes], stack: ExitStack, damage: list[str]) -> list[EventLogFile]:
    archive = stack.enter_context(tarfile.open(fileobj=file, mode="r:"))  # noqa: SIM115
    members: list[tarfile.TarInfo] = []
    try:
        members += (member for member in archive if member.isfile())
    except _DAMAGE as error:
        damage.append(f"the archive is cut: {error}")
    members.sort(key=lambda member: member.name)
    return [_part(m.name, functools.partial(archive.extractfile, m)) for m in members]


def _part(name: str, opener: Callable[[], IO[bytes] | None]) -> EventLogFile:
    def opened() -> BinaryIO:
        try:
            found = opener()
        except _DAMAGE as error:
            return cast("BinaryIO", _Broken(str(error)))
        return cast("BinaryIO", _Stream(found or io.BytesIO()))

    return EventLogFile(name.removeprefix("./").lstrip("/"), opened)


class _Broken(_Stream):
    """A file of an archive that cannot be read at all."""

    def __init__(self, reason: str) -> None:
        super().__init__(io.BytesIO())
        self._reason = reason

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - nothing of it can be read
        """`CutError`, always."""
        raise codecs.CutError(f"damaged archive: {self._reason}")
