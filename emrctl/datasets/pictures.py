"""Read pictures (scikit-learn's digits, or a folder) and upload them to the bucket."""

from __future__ import annotations

import functools
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl.aws.listing import objects
from emrctl.errors import UsageError

if TYPE_CHECKING:
    from emrctl.aws.target import Target

DATA_PREFIX = "data/"
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_NUMBERED = re.compile(r"(.+)_\d+")
# More threads do not help: four saturate the emulator.
_UPLOADS = 4


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
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        hint = "Install emrctl with its jobs: pip install 'emrctl[jobs]'."
        raise UsageError("scikit-learn is not installed", hint=hint) from error
    images, labels = load_digits(return_X_y=True)
    seen: Counter[str] = Counter()
    pictures = []
    for pixels, label in zip(images, map(str, labels), strict=True):
        if per_class is None or seen[label] < per_class:
            name = f"{label}_{seen[label]:03d}.png"
            pictures.append(PictureFile(name, label, functools.partial(_png, pixels)))
            seen[label] += 1
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
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if present.get(key) == digest:
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
