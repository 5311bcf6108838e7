"""Small copies of pictures for the study's page, from where their features were made."""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from _common import WRITERS, Files, join

SIDE = 96  # of a copy, in px at most


class Album:
    """The pictures below a folder; None where nobody knows the folder."""

    def __init__(self, files: Files, folder: str | None) -> None:
        self._files = files
        self._folder = folder

    def copies(self, paths: Sequence[str]) -> dict[str, str]:
        """A data: address of each of these pictures that is there; a page does without the others.

        None at all where Pillow is not installed, or where the pictures lie in an archive.
        """
        if self._folder is None or not importlib.util.find_spec("PIL"):
            return {}
        with ThreadPoolExecutor(WRITERS) as pool:
            found = pool.map(self._copy, paths)
            return {path: copy for path, copy in zip(paths, found) if copy}

    def _copy(self, path: str) -> str | None:
        try:
            return small(self._files.read(join(str(self._folder), path)))
        except Exception:  # noqa: BLE001 - Hadoop's, py4j's or Pillow's: there is no picture to show
            return None


def small(content: bytes) -> str:
    """The picture as a JPEG of at most SIDE x SIDE px, as a data: address."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as picture:
        picture.draft("RGB", (SIDE, SIDE))
        copy = ImageOps.exif_transpose(picture).convert("RGB")
    copy.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
