"""Opens zip and tar archives of event logs as the files that they contain.

Archives are recognised by their first bytes, also if compressed. Archives that are compressed or
not seekable (pipes, S3 objects) are copied to a temporary file first. Names from archives are
never used as paths.
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
from typing import IO, BinaryIO, Self, cast

from emrctl import redact
from emrctl.errors import UsageError
from emrctl.metrics.eventlog import codecs
from emrctl.metrics.eventlog.layout import EventLogFile, EventLogFiles

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_AT, _TAR = 257, b"ustar"
# A zstd block decodes to 128 KB at most; the first must be whole, however little it is compressed.
_HEAD_BYTES = 1 << 18
_MAX_MEMORY_BYTES = 16 << 20
_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.zstd", ".tzst")
# Raised by zipfile and tarfile for damaged, truncated or encrypted archives.
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


@contextmanager
def unpack(files: EventLogFiles) -> Iterator[tuple[EventLogFiles, list[str]]]:
    """Replace archives by their members, which are readable inside the context.

    Checks a single file, and files with the suffix of an archive. Also yields descriptions of
    damage to the archives.
    """
    with ExitStack() as stack:
        members: list[EventLogFile] = []
        damage: list[str] = []
        for file in files:
            if len(files) == 1 or file.base.lower().endswith(_SUFFIXES):
                members += _members(file, stack, damage)
            else:
                members.append(file)
        yield tuple(members), damage


def _members(file: EventLogFile, stack: ExitStack, damage: list[str]) -> list[EventLogFile]:
    stream = stack.enter_context(file.open())
    head = codecs.PeekedStream(stream).read(_HEAD_BYTES)
    whole = codecs.PeekedStream(stream, head)
    try:
        if head.startswith(_ZIP):
            return _zip_members(_seekable(stream, whole, stack), stack)
        if _is_tar(head):
            return _tar_members(_seekable(stream, whole, stack), stack, damage)
        if _is_tar(_decoded_head(head)):
            blocks = codecs.DecodedStream(whole).blocks()
            return _tar_members(_spool(blocks, stack, damage), stack, damage)
    except _DAMAGE as error:
        raise UsageError(
            f"cannot open the archive '{redact.text(file.base)}': {error}",
            hint="Create the archive again, or extract it and give the path of an event log.",
        ) from error
    return [EventLogFile(file.name, lambda: cast("BinaryIO", _MemberStream(whole)))]


class _MemberStream:
    """A file-like stream that raises `CutError` if its archive is damaged."""

    def __init__(self, stream: codecs.PeekedStream | IO[bytes] | Exception) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        try:
            if isinstance(self._stream, Exception):
                raise self._stream
            return self._stream.read(size)
        except _DAMAGE as error:
            raise codecs.CutError(f"damaged archive: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the stream open: the archive's next member needs it."""


def _is_tar(head: bytes) -> bool:
    return head[_TAR_AT:].startswith(_TAR)


def _decoded_head(head: bytes) -> bytes:
    """Return the first decoded bytes of a stream that starts with `head`."""
    if codecs.detect_codec(head[:8]) == "plain":
        return head
    decoded = b""
    try:
        for block in codecs.decode(io.BytesIO(head)):
            decoded += block
            if len(decoded) > _TAR_AT + len(_TAR):
                break
    except codecs.CutError:
        return decoded
    return decoded


def _seekable(stream: BinaryIO, whole: codecs.PeekedStream, stack: ExitStack) -> IO[bytes]:
    if stream.seekable():
        stream.seek(0)
        return stream
    return _spool(iter(lambda: whole.read(codecs.BLOCK_BYTES), b""), stack, [])


def _spool(blocks: Iterable[bytes], stack: ExitStack, damage: list[str]) -> IO[bytes]:
    spool = tempfile.SpooledTemporaryFile(max_size=_MAX_MEMORY_BYTES)  # noqa: SIM115 - in `stack`
    file = stack.enter_context(spool)
    try:
        for block in blocks:
            file.write(block)
    except codecs.CutError as error:
        damage.append(f"the archive is truncated: {error}")
    file.seek(0)
    return cast("IO[bytes]", file)


def _zip_members(file: IO[bytes], stack: ExitStack) -> list[EventLogFile]:
    archive = stack.enter_context(zipfile.ZipFile(file))
    names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    return [_member(name, functools.partial(archive.open, name)) for name in names]


def _tar_members(file: IO[bytes], stack: ExitStack, damage: list[str]) -> list[EventLogFile]:
    archive = stack.enter_context(tarfile.open(fileobj=file, mode="r:"))  # noqa: SIM115
    members: list[tarfile.TarInfo] = []
    try:
        members += (member for member in archive if member.isfile())
    except _DAMAGE as error:
        damage.append(f"the archive is truncated: {error}")
    members.sort(key=lambda member: member.name)
    return [_member(m.name, functools.partial(archive.extractfile, m)) for m in members]


def _member(name: str, open_member: Callable[[], IO[bytes] | None]) -> EventLogFile:
    def open_stream() -> BinaryIO:
        try:
            return cast("BinaryIO", _MemberStream(open_member() or io.BytesIO()))
        except _DAMAGE as error:
            return cast("BinaryIO", _MemberStream(error))

    return EventLogFile(name.removeprefix("./").lstrip("/"), open_stream)
