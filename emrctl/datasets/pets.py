"""The Oxford-IIIT Pet Dataset, 7,390 photographs of 37 breeds: a local copy or a download.

Source: O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, "Cats and Dogs", CVPR 2012; CC BY-SA
4.0, the copyright stays with the owners of the pictures.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl import paths
from emrctl.datasets import pictures
from emrctl.errors import EmrctlError, NotFoundError, UsageError

if TYPE_CHECKING:
    from emrctl.datasets.pictures import PictureFile

_CHUNK = 1 << 20
_TIMEOUT_S = 60.0
_ARCHIVES = (".tar.gz", ".tgz", ".tar")


@dataclass(frozen=True, kw_only=True)
class Download:
    """URL of an archive, its size in bytes and its MD5."""

    url: str = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz"
    bytes: int = 791_918_971
    md5: str = "5c4f3ee8e5d25df40f4fd59a7f44e54c"


OXFORD = Download()


def archive() -> Path:
    """Return the path of the downloaded archive; it may not exist."""
    return paths.cache() / "pets" / "images.tar.gz"


@contextlib.contextmanager
def open_pictures(source: Path, per_class: int | None = None) -> Iterator[list[PictureFile]]:
    """Yield the pictures of a folder or of a tar archive, which is unpacked meanwhile.

    Raises `UsageError` if the source is neither, is damaged or has no pictures.
    """
    if not source.is_file():
        yield pictures.folder(source, per_class)
        return
    if not source.name.lower().endswith(_ARCHIVES):
        hint = f"Name a folder of pictures, or an archive ({', '.join(_ARCHIVES)})."
        raise UsageError(f"{source} is not a supported archive", hint=hint)
    # Beside the archive: /tmp may be in memory and too small.
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=_writable(source.parent)) as folder:
        _unpack(source, Path(folder))
        yield pictures.folder(Path(folder), per_class)


def download(report: Callable[[int], None], source: Download = OXFORD) -> Path:
    """Download the archive to `archive()`, resuming an interrupted download; return its path.

    `report` receives the number of bytes so far. Raises `EmrctlError` if the server cannot be
    reached or sends another file.
    """
    path = archive()
    if path.is_file():
        return path
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(source, part, report)
    except OSError as error:
        hint = f"Download {source.url} yourself, then run `emrctl data pets PATH`."
        raise NotFoundError(f"could not download {source.url}: {error}", hint=hint) from error
    _check(part, source)
    return part.replace(path)


def _fetch(source: Download, part: Path, report: Callable[[int], None]) -> None:
    done = part.stat().st_size if part.exists() else 0
    if done >= source.bytes:
        return
    request = urllib.request.Request(source.url)  # noqa: S310 - a constant, or a test's URL
    if done:
        request.add_header("Range", f"bytes={done}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        # A server without range requests sends the whole file.
        resumed = answer.status == 206
        done = done if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                report(done)


def _check(part: Path, source: Download) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with part.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() == source.md5:
        return
    size = part.stat().st_size
    if size < source.bytes:
        hint = "Run the same command again; it resumes."
        raise EmrctlError(f"the download ended after {size:,} of {source.bytes:,} bytes", hint=hint)
    part.unlink()
    raise EmrctlError(
        f"{source.url} has an unexpected checksum",
        hint="If the data set has a new edition, download it and pass its path.",
    )


def _unpack(source: Path, folder: Path) -> None:
    try:
        with tarfile.open(source) as packed:
            packed.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(f"could not unpack {source}: {error}") from error


def _writable(folder: Path) -> Path | None:
    """Return the folder if it is writable, else None for the system's temporary folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
