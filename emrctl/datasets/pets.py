"""The Oxford-IIIT Pet Dataset, 7,390 photographs of 37 breeds: the user's copy, or its authors'.

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
    from emrctl.datasets.pictures import Picture

_CHUNK = 1 << 20
_SILENCE_S = 60.0
_ARCHIVES = (".tar.gz", ".tgz", ".tar")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the authors' archive lies, its size in bytes and its MD5."""

    url: str = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz"
    bytes: int = 791_918_971
    md5: str = "5c4f3ee8e5d25df40f4fd59a7f44e54c"


OXFORD = Source()


def archive() -> Path:
    """Where the downloaded archive is kept; it need not be there."""
    return paths.cache() / "pets" / "images.tar.gz"


@contextlib.contextmanager
def opened(source: Path, per_class: int | None = None) -> Iterator[list[Picture]]:
    """The pictures of a folder, or of a tar archive for as long as it is open.

    `UsageError` where the source is neither, is damaged or holds no pictures.
    """
    if not source.is_file():
        yield pictures.folder(source, per_class)
        return
    if not source.name.lower().endswith(_ARCHIVES):
        hint = f"Name a folder of pictures, or an archive ({', '.join(_ARCHIVES)})."
        raise UsageError(f"{source} is no archive that emrctl knows", hint=hint)
    # Beside the archive: the memory file systems that some have at /tmp do not hold it.
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=_roomy(source.parent)) as folder:
        _unpack(source, Path(folder))
        yield pictures.folder(Path(folder), per_class)


def download(report: Callable[[int], None], source: Source = OXFORD) -> Path:
    """The archive lies whole in `archive()`; what a download that was cut off left is gone on with.

    `report` is told how many bytes there are. `EmrctlError` where the server cannot be reached or
    sends something else.
    """
    whole = archive()
    if whole.is_file():
        return whole
    part = whole.with_name(whole.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(source, part, report)
    except OSError as error:
        hint = f"Download {source.url} yourself: emrctl data pets PATH takes it from there."
        raise NotFoundError(f"{source.url} does not answer: {error}", hint=hint) from error
    _check(part, source)
    return part.replace(whole)


def _fetch(source: Source, part: Path, report: Callable[[int], None]) -> None:
    done = part.stat().st_size if part.exists() else 0
    if done >= source.bytes:
        return
    request = urllib.request.Request(source.url)  # noqa: S310 - a constant, or a test's own
    if done:
        request.add_header("Range", f"bytes={done}-")
    with urllib.request.urlopen(request, timeout=_SILENCE_S) as answer:  # noqa: S310
        # A server that knows no ranges begins anew.
        goes_on = answer.status == 206
        done = done if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                report(done)


def _check(part: Path, source: Source) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with part.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() == source.md5:
        return
    size = part.stat().st_size
    if size < source.bytes:
        hint = "Try again: it goes on from there."
        raise EmrctlError(f"the download ended after {size:,} of {source.bytes:,} bytes", hint=hint)
    part.unlink()
    raise EmrctlError(
        f"{source.url} sent another file than the one that emrctl knows",
        hint="If the data set has a new edition, download it and give its path.",
    )


def _unpack(source: Path, folder: Path) -> None:
    try:
        with tarfile.open(source) as packed:
            packed.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(f"{source} cannot be unpacked: {error}") from error


def _roomy(folder: Path) -> Path | None:
    """The folder where it can be written to, else None: the system's own for such files."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
