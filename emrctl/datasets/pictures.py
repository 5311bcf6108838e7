"""Pictures on their way to the bucket: scikit-learn's digits, or a folder of the user's."""

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
# A bucket takes many small objects at once; the emulator is busy with four.
_UPLOADS = 4


@dataclass(frozen=True)
class Picture:
    """A picture by its name below the data set's prefix; `read` gives its bytes."""

    name: str
    label: str
    read: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What lies on the bucket: where, how many pictures of which class, how many were sent now."""

    uri: str
    classes: dict[str, int]
    sent: int


def digits(per_class: int | None = None) -> list[Picture]:
    """The 1,797 handwritten digits that scikit-learn carries, 8 x 8, as `<digit>_<n>.png`.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        hint = "Install emrctl with its jobs: pip install 'emrctl[jobs]'."
        raise UsageError("the digits come with scikit-learn, which is absent", hint=hint) from error
    images, labels = load_digits(return_X_y=True)
    seen: Counter[str] = Counter()
    pictures = []
    for pixels, label in zip(images, map(str, labels), strict=True):
        if per_class is None or seen[label] < per_class:
            name = f"{label}_{seen[label]:03d}.png"
            pictures.append(Picture(name, label, functools.partial(_png, pixels)))
            seen[label] += 1
    return pictures


def folder(path: Path, per_class: int | None = None) -> list[Picture]:
    """The pictures of a folder: `<class>_<n>.jpg` in it, or `<class>/<file>` below it."""
    if not path.is_dir():
        raise UsageError(f"{path} is no folder", hint="Name a folder of pictures.")
    seen: Counter[str] = Counter()
    pictures = []
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in _SUFFIXES and file.is_file():
            label = _label(file, path)
            if per_class is None or seen[label] < per_class:
                name = file.relative_to(path).as_posix()
                pictures.append(Picture(name, label, file.read_bytes))
                seen[label] += 1
    if not pictures:
        raise UsageError(
            f"{path} holds no pictures",
            hint="Name them <class>_<n>.jpg, or put them into folders named after their classes.",
        )
    return pictures


def upload(
    target: Target,
    bucket: str,
    name: str,
    pictures: Iterable[Picture],
    report: Callable[[int], None],
) -> DataSet:
    """The pictures lie below `data/<name>/`; only those that did not yet, or differ, are sent.

    `report` is told after each one how many are done.
    """
    wanted = list(pictures)
    prefix = f"{DATA_PREFIX}{name}/"
    present = dict(_present(target, bucket, prefix))
    s3 = target.client("s3")

    def send(picture: Picture) -> bool:
        body = picture.read()
        key = prefix + picture.name
        # An object's ETag is its MD5 where it was put whole and not under a KMS key.
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if present.get(key) == digest:
            return False
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        return True

    sent = 0
    with ThreadPoolExecutor(_UPLOADS) as pool:
        for done, new in enumerate(pool.map(send, wanted), start=1):
            sent += new
            report(done)
    classes = Counter(picture.label for picture in wanted)
    return DataSet(uri=f"s3://{bucket}/{prefix}", classes=dict(sorted(classes.items())), sent=sent)


def known_name(text: str) -> str:
    """`text` as the name of a data set; `UsageError` where it cannot be one."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", text):
        raise UsageError(f"'{text}' cannot name a data set", hint="Use small letters and digits.")
    return text


def _present(target: Target, bucket: str, prefix: str) -> Iterator[tuple[str, str]]:
    for item in objects(target.client("s3"), bucket, prefix):
        yield item["Key"], item["ETag"].strip('"')


def _label(file: Path, root: Path) -> str:
    """As `features` reads it: the name up to its last `_<n>`, else the folder's name."""
    numbered = _NUMBERED.fullmatch(file.stem)
    if numbered is not None:
        return numbered[1]
    if file.parent != root:
        return file.parent.name
    raise UsageError(
        f"{file}: tells no class", hint="Name pictures <class>_<n>.jpg, or put them into folders."
    )


def _png(pixels: object) -> bytes:
    """An image of 8 x 8 grey values from 0 to 16 as PNG."""
    import numpy as np
    from PIL import Image

    grey = (np.asarray(pixels).reshape(8, 8) * (255 / 16)).round().astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(grey).save(packed, format="PNG")
    return packed.getvalue()
