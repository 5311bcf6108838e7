"""Feature extractors: what makes a vector of a picture, behind one interface that others join.

An extractor is made on the driver and pickled to the executors: it holds settings only, and loads
what is heavy (a library, a network's weights) inside the method that needs it, once for each Python
worker.
"""

from __future__ import annotations

import argparse
import io
from typing import Any, Protocol

import _common
import _networks
import numpy as np
from _common import Files, JobError
from _networks import Network, Weights, digest_of
from pyspark import SparkFiles
from pyspark.sql import SparkSession


class Extractor(Protocol):
    """Pictures in, vectors out, in two steps so that a network can take a batch at a time.

    Attributes:
        batch: How many prepared pictures to give at once.
        threads: How many it may use: what Spark gives to a task.
    """

    batch: int
    threads: int

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
    batch = 64

    def __init__(self, size: int) -> None:
        self.size = size
        self.threads = 1

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


NAMES = ("hog", *_networks.NAMES)


def default_size(name: str) -> int:
    """Pixels of a side, where none are asked for."""
    return 64 if name == "hog" else 224


def problem(name: str, size: int) -> str:
    """Why pictures of `size` x `size` pixels will not do; nothing when they will."""
    if name == "hog":
        return Hog.problem(size)
    return "" if 32 <= size <= 1024 else f"{name} takes 32 to 1024 pixels"


def modules(name: str) -> tuple[str, ...]:
    """What every node's Python must have."""
    return ("PIL", "skimage") if name == "hog" else ("PIL", "keras", "tensorflow")


def make(spark: SparkSession, settings: dict[str, Any]) -> Extractor:
    """The extractor that these settings are of (name, size; for a network layer and weights)."""
    made: Extractor
    if settings["name"] == "hog":
        made = Hog(settings["size"])
    else:
        weights = ship_weights(spark, settings["weights"])
        layer = settings.get("layer") or ""
        made = Network(settings["name"], settings["size"], layer, weights)
    made.threads = int(spark.sparkContext.getConf().get("spark.task.cpus", "1"))
    return made


def ship_weights(spark: SparkSession, source: str) -> Weights:
    """Weights by name, by seed, or as a file on any path, that Spark brings to each node once.

    Raises:
        JobError: The seed is no number, or the file cannot be read.
    """
    if source == "imagenet":
        return Weights(source, "", "imagenet")
    kind, _, seed = source.partition(":")
    if kind == "random":
        if not seed.isdigit():
            raise JobError(f"--weights {source}: random: and a whole number")
        return Weights(source, "", source)
    if not Files(spark).exists(source):
        raise JobError(f"--weights {source}: no such file; or imagenet, or random:SEED")
    spark.sparkContext.addFile(source)
    name = source.rstrip("/").rpartition("/")[2]
    return Weights(source, name, digest_of(SparkFiles.get(name)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What makes the vectors."""
    add = parser.add_argument
    add("--extractor", choices=NAMES, default="hog", metavar="hog|vgg16|resnet50|…")
    add("--size", type=_common.positive_int, metavar="PIXELS", help="default: hog 64, networks 224")
    add(
        "--layer",
        metavar="NAME",
        help="of a network (default: fc2 of vgg16 and vgg19, else the pooled last)",
    )
    add(
        "--weights",
        default="imagenet",
        metavar="imagenet|random:SEED|PATH",
        help="of a network; a file, s3:// too, is brought to each node once",
    )
