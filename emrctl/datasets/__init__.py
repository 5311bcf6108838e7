"""Pictures for the jobs, uploaded to the bucket: digits, folders, the Oxford-IIIT Pet Dataset."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import re
import tarfile
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from emrctl import paths
from emrctl.aws.listing import objects
from emrctl.aws.target import Target
from emrctl.errors import EmrctlError, NotFoundError, UsageError

DATA_PREFIX = "data/"
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_NUMBERED = re.compile(r"(.+)_\d+")
# At most the connections of a boto3 client.
_UPLOADS = 8


@dataclass(frozen=True)
class PictureFile:
    """A picture: its key below the data set's prefix, its class, and a function for its bytes."""

    name: str
    label: str
    read: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """An uploaded data set: its URI, pictures per class, and how many were uploaded this time."""

    uri: str
    classes: dict[str, int]
    sent: int


def digits(per_class: int | None = None) -> list[PictureFile]:
    """Return scikit-learn's 1,797 handwritten digits of 8 x 8 pixels as `<digit>_<n>.png`.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pictures = []
    for label in range(10):
        for number, pixels in enumerate(images[labels == label][:per_class]):
            name = f"{label}_{number:03d}.png"
            pictures.append(PictureFile(name, str(label), functools.partial(_png, pixels)))
    return pictures


def folder(path: Path, per_class: int | None = None) -> list[PictureFile]:
    """Return the pictures of a folder: `<class>_<n>.jpg` in it, or `<class>/<file>` below it."""
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder", hint="Pass a folder of pictures.")
    seen: Counter[str] = Counter()
    pictures = []
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in _SUFFIXES and file.is_file():
            label = _label(file, path)
            if per_class is None or seen[label] < per_class:
                name = file.relative_to(path).as_posix()
                pictures.append(PictureFile(name, label, file.read_bytes))
                seen[label] += 1
    if not pictures:
        raise UsageError(
            f"{path} has no pictures",
            hint="Name pictures <class>_<n>.jpg, or use one folder per class.",
        )
    return pictures


def upload(
    target: Target,
    bucket: str,
    name: str,
    pictures: Iterable[PictureFile],
    report: Callable[[int], None],
) -> DataSet:
    """Upload pictures that are missing or differ below `data/<name>/`.

    `report` receives the number of pictures done after each one.
    """
    all_pictures = list(pictures)
    prefix = f"{DATA_PREFIX}{name}/"
    present = dict(_present(target, bucket, prefix))
    s3 = target.client("s3")

    def send(picture: PictureFile) -> bool:
        body = picture.read()
        key = prefix + picture.name
        # The ETag is the MD5 unless the object was uploaded in parts or with a KMS key.
        if key in present and present[key] == _md5(body):
            return False
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        return True

    sent = 0
    with ThreadPoolExecutor(_UPLOADS) as pool:
        for done, new in enumerate(pool.map(send, all_pictures), start=1):
            sent += new
            report(done)
    classes = Counter(picture.label for picture in all_pictures)
    return DataSet(uri=f"s3://{bucket}/{prefix}", classes=dict(sorted(classes.items())), sent=sent)


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def check_name(text: str) -> str:
    """Return `text` if it is a valid name of a data set; raises `UsageError`."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", text):
        raise UsageError(
            f"invalid data set name '{text}'", hint="Use lower-case letters and digits."
        )
    return text


def _present(target: Target, bucket: str, prefix: str) -> Iterator[tuple[str, str]]:
    for item in objects(target.client("s3"), bucket, prefix):
        yield item["Key"], item["ETag"].strip('"')


def _label(file: Path, root: Path) -> str:
    """Return the class as `features` reads it: the name up to `_<n>`, else the folder's name."""
    numbered = _NUMBERED.fullmatch(file.stem)
    if numbered is not None:
        return numbered[1]
    if file.parent != root:
        return file.parent.name
    raise UsageError(
        f"{file}: no class", hint="Name pictures <class>_<n>.jpg, or use one folder per class."
    )


def _png(pixels: object) -> bytes:
    """Encode 8 x 8 grey values from 0 to 16 as PNG."""
    import numpy as np
    from PIL import Image

    grey = (np.asarray(pixels).reshape(8, 8) * (255 / 16)).round().astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(grey).save(packed, format="PNG")
    return packed.getvalue()


# --- Oxford-IIIT Pet Dataset ----------------------------------------------------------------------

# 7,390 photographs of 37 breeds. O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, "Cats and
# Dogs", CVPR 2012; CC BY-SA 4.0, the copyright stays with the owners of the pictures.

_CHUNK = 1 << 20
_TIMEOUT_S = 60.0
_ARCHIVES = (".tar.gz", ".tgz", ".tar")


@dataclass(frozen=True, kw_only=True)
class Download:
    """URL of an archive, its size in bytes and its MD5."""

    url: str = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz"
    bytes: int = 791_918_971
    md5: str = "5c4f3ee8e5d25df40f4fd59a7f44e54c"


OXFORD_PETS = Download()


def pets_archive() -> Path:
    """Return the path of the downloaded archive; it may not exist."""
    return paths.cache() / "pets" / "images.tar.gz"


@contextlib.contextmanager
def open_pictures(source: Path, per_class: int | None = None) -> Iterator[list[PictureFile]]:
    """Yield the pictures of a folder or of a tar archive, which is unpacked meanwhile.

    Raises `UsageError` if the source is neither, is damaged or has no pictures.
    """
    if not source.is_file():
        yield folder(source, per_class)
        return
    if not source.name.lower().endswith(_ARCHIVES):
        hint = f"Name a folder of pictures, or an archive ({', '.join(_ARCHIVES)})."
        raise UsageError(f"{source} is not a supported archive", hint=hint)
    # Beside the archive: /tmp may be in memory and too small.
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=_writable(source.parent)) as unpacked:
        _unpack(source, Path(unpacked))
        yield folder(Path(unpacked), per_class)


def download_pets(report: Callable[[int], None], source: Download = OXFORD_PETS) -> Path:
    """Download the archive to `pets_archive()`, resuming an interrupted download; return its path.

    `report` receives the number of bytes so far. Raises `EmrctlError` if the server cannot be
    reached or sends another file.
    """
    path = pets_archive()
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
