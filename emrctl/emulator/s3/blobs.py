"""Files with the content of objects, named by random ids: keys never become names of files.

A file is written once and never changed. It belongs to an object once the index refers to it
(`index.py`); files without a reference, which an emulator leaves that was killed meanwhile, are
deleted when the next one starts. Content is not synced to disk: it survives the emulator's death,
but not a loss of power within the next seconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 20
# Errors of file systems that do not support links or copies in the kernel.
_UNSUPPORTED = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


@dataclass(frozen=True)
class Segment:
    """A file of content and its size in bytes."""

    id: str
    size: int


class BlobFolder:
    """The folder of content files."""

    def __init__(self, root: Path) -> None:
        """Create the folder and its 256 subfolders."""
        self.root = root
        for number in range(256):
            (root / f"{number:02x}").mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, id_: str) -> str:
        """Return the path of a file."""
        return f"{self.root}/{id_[:2]}/{id_[2:]}"

    def write(self, blocks: Iterable[bytes]) -> Segment:
        """Write a file; delete it if that fails."""
        id_ = secrets.token_hex(12)
        path, size = self.path(id_), 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for block in blocks:
                _write_all(descriptor, block)
                size += len(block)
        except BaseException:
            Path(path).unlink()
            raise
        finally:
            os.close(descriptor)
        return Segment(id_, size)

    def copy(self, segment: Segment) -> Segment:
        """Return another name of the same content: a hard link, or a copy where that fails."""
        copy = Segment(secrets.token_hex(12), segment.size)
        try:
            os.link(self.path(segment.id), self.path(copy.id))
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            shutil.copyfile(self.path(segment.id), self.path(copy.id))
        return copy

    def read(self, segments: Iterable[Segment], start: int, size: int) -> Iterator[bytes]:
        """Yield a range of the content in blocks."""
        with self.opened(segments) as opened:
            for descriptor, offset, length in ranges(opened, start, size):
                for position in range(offset, offset + length, _BLOCK):
                    yield os.pread(descriptor, min(_BLOCK, offset + length - position), position)

    @contextlib.contextmanager
    def opened(self, segments: Iterable[Segment]) -> Iterator[list[tuple[int, int]]]:
        """Open the files for a block; see `open`."""
        opened = self.open(segments)
        try:
            yield opened
        finally:
            for descriptor, _ in opened:
                os.close(descriptor)

    def open(self, segments: Iterable[Segment]) -> list[tuple[int, int]]:
        """Return the file descriptors and sizes; an open file can be read after its deletion.

        Raise `FileNotFoundError` if a file does not exist or has another size.
        """
        opened: list[tuple[int, int]] = []
        try:
            for segment in segments:
                opened.append((_open(self.path(segment.id), segment.size), segment.size))  # noqa: PERF401 - closed below
        except BaseException:
            for descriptor, _ in opened:
                os.close(descriptor)
            raise
        return opened

    def delete(self, segments: Iterable[Segment]) -> None:
        """Delete the files that exist."""
        for segment in segments:
            with contextlib.suppress(FileNotFoundError):
                Path(self.path(segment.id)).unlink()

    def ids(self) -> Iterator[str]:
        """Yield the ids of all files."""
        for folder in os.scandir(self.root):
            for entry in os.scandir(folder.path):
                yield folder.name + entry.name


def ranges(opened: list[tuple[int, int]], start: int, size: int) -> list[tuple[int, int, int]]:
    """Return the descriptors, offsets and lengths of `size` bytes from `start`."""
    found, position, end = [], 0, start + size
    for descriptor, length in opened:
        first, last = max(start, position), min(end, position + length)
        if first < last:
            found.append((descriptor, first - position, last - first))
        position += length
    return found


def _open(path: str, size: int) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    if os.fstat(descriptor).st_size != size:
        os.close(descriptor)
        raise FileNotFoundError(path)
    return descriptor


def _write_all(descriptor: int, block: bytes) -> None:
    written = os.write(descriptor, block)
    while written < len(block):  # the kernel writes less than 2 GiB, or up to the end of the disk
        block = block[written:]
        written = os.write(descriptor, block)
