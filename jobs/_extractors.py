"""Feature extractors: what makes a vector of a picture, behind one interface that others join.

An extractor is made on the driver and pickled to the executors: it holds settings only, and loads
what is heavy (a library, a network's weights) inside the method that needs it, once for each Python
worker.
"""

from __future__ import annotations

import io
from typing import Any, Protocol

import numpy as np


class Extractor(Protocol):
    """Pictures in, vectors out, in two steps so that a network can take a batch at a time."""

    def __init__(self, size: int) -> None: ...

    @staticmethod
    def problem(size: int) -> str:
        """Why pictures of `size` x `size` pixels will not do; nothing when they will."""

    def settings(self) -> dict[str, Any]:
        """What the vectors depend on, for result.json."""

    def prepare(self, content: bytes) -> np.ndarray[Any, Any]:
        """Decode one encoded picture. Raises whatever the decoder raises when it is broken."""

    def features(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Vectors of a batch of prepared pictures: [n, …] in, [n, dimension] out."""


class Hog:
    """Histograms of oriented gradients over grey pictures (Dalal and Triggs, CVPR 2005).

    9 orientations, cells of 8 x 8 pixels, blocks of 2 x 2 cells, L2-Hys: the paper's settings and
    scikit-image's code. A picture of 64 x 64 pixels gives 7*7 blocks * 4 cells * 9 = 1,764 numbers.
    """

    cell, block, orientations = 8, 2, 9

    def __init__(self, size: int) -> None:
        self.size = size

    @staticmethod
    def problem(size: int) -> str:
        """A block must fit into the picture."""
        least = Hog.cell * Hog.block
        return "" if least <= size <= 1024 else f"hog takes {least} to 1024 pixels"

    def settings(self) -> dict[str, Any]:
        """Name, size and HOG's parameters."""
        return {
            "name": "hog",
            "size": self.size,
            "orientations": self.orientations,
            "pixels_per_cell": self.cell,
            "cells_per_block": self.block,
            "block_norm": "L2-Hys",
        }

    def prepare(self, content: bytes) -> np.ndarray[Any, Any]:
        """Grey levels in 0 … 255 (float32, [size, size]); JPEG is decoded no larger than needed."""
        from PIL import Image

        with Image.open(io.BytesIO(content)) as picture:
            picture.draft("L", (self.size * 2, self.size * 2))
            grey = picture.convert("L").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(grey, dtype=np.float32)

    def features(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """HOG of each picture: [n, size, size] in, float32 [n, dimension] out."""
        from skimage.feature import hog

        cell, block = (self.cell, self.cell), (self.block, self.block)
        rows = [hog(grey, self.orientations, cell, block, block_norm="L2-Hys") for grey in batch]
        return np.stack(rows).astype(np.float32)


EXTRACTORS: dict[str, type[Extractor]] = {"hog": Hog}
