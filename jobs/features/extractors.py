"""Feature extractors: HOG, and networks of keras.applications, e.g. the layer fc2 of VGG16.

An extractor is created on the driver and pickled to the executors. It holds settings only; a
library or a network is loaded inside the method that needs it, once for each Python worker.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import io
import os
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from pyspark import SparkFiles
from pyspark.sql import SparkSession

from common.files import HadoopFiles
from common.job import JobError, positive_int

Array = np.ndarray[Any, Any]
NETWORKS = (
    "convnextbase", "convnextlarge", "convnextsmall", "convnexttiny", "convnextxlarge",
    "densenet121", "densenet169", "densenet201", "efficientnetb0", "efficientnetb1",
    "efficientnetb2", "efficientnetb3", "efficientnetb4", "efficientnetb5", "efficientnetb6",
    "efficientnetb7", "efficientnetv2b0", "efficientnetv2b1", "efficientnetv2b2",
    "efficientnetv2b3", "efficientnetv2l", "efficientnetv2m", "efficientnetv2s",
    "inceptionresnetv2", "inceptionv3", "mobilenet", "mobilenetv2", "mobilenetv3large",
    "mobilenetv3small", "nasnetlarge", "nasnetmobile", "resnet101", "resnet101v2", "resnet152",
    "resnet152v2", "resnet50", "resnet50v2", "vgg16", "vgg19", "xception",
)  # fmt: skip
POOLED = "pooled"  # the last global average pooling layer, whose name depends on the network
DEFAULT_LAYERS = {"vgg16": "fc2", "vgg19": "fc2"}  # without a global average pooling layer
_MODELS: dict[tuple[str, ...], Any] = {}  # models of this Python worker, by their settings
NAMES = ("hog", *NETWORKS)
BACKENDS = ("tensorflow", "torch")


class FeatureExtractor(Protocol):
    """Converts pictures to vectors, in two steps, so that a network can process a batch at a time.

    Attributes:
        batch: Number of prepared pictures to pass at once.
        threads: Number of threads to use (spark.task.cpus).
    """

    batch: int
    threads: int

    def settings(self) -> dict[str, Any]:
        """Return the settings that the vectors depend on, for result.json."""

    def prepare(self, content: bytes) -> Array:
        """Decode a picture. Raises any exception of the decoder if it is damaged."""

    def features(self, batch: Array) -> Array:
        """Convert prepared pictures [n, …] to vectors [n, dimension]."""


def decode(content: bytes, mode: str, size: int) -> Array:
    """Decode and scale a picture: uint8 [size, size], or [size, size, 3] in mode RGB.

    Pictures are scaled with bilinear weights over all source pixels (keras.utils.load_img takes the
    nearest one). JPEG is decoded at the smallest useful scale.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        picture.draft(mode, (size * 2, size * 2))
        scaled = picture.convert(mode).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(scaled)


class HogExtractor:
    """Histograms of oriented gradients of grey pictures (Dalal and Triggs, CVPR 2005).

    9 orientations, cells of 8 x 8 pixels, blocks of 2 x 2 cells, L2-Hys, as in the paper, computed
    by scikit-image. A picture of 64 x 64 pixels gives 7*7 blocks * 4 cells * 9 = 1,764 numbers.
    """

    cell, block, orientations = 8, 2, 9
    batch = 64

    def __init__(self, size: int) -> None:
        self.size = size
        self.threads = 1

    def settings(self) -> dict[str, Any]:
        """Return name, size and HOG's parameters."""
        return {
            "name": "hog",
            "size": self.size,
            "orientations": self.orientations,
            "pixels_per_cell": self.cell,
            "cells_per_block": self.block,
            "block_norm": "L2-Hys",
        }

    def prepare(self, content: bytes) -> Array:
        """Decode grey levels 0 … 255 (float32, [size, size])."""
        return decode(content, "L", self.size).astype(np.float32)

    def features(self, batch: Array) -> Array:
        """Compute HOG of pictures [n, size, size]: float32 [n, dimension]."""
        from skimage.feature import hog

        cell, block = (self.cell, self.cell), (self.block, self.block)
        rows = [hog(grey, self.orientations, cell, block, block_norm="L2-Hys") for grey in batch]
        return np.stack(rows).astype(np.float32)


# ---- networks ------------------------------------------------------------------------------------


class NetworkWeights(NamedTuple):
    """Weights of a network."""

    source: str  # `imagenet`, `random:SEED`, or a path
    shipped: str  # name of the file that Spark copied to every node; empty: read `source` directly
    digest: str  # first 16 digits of the file's SHA-256; otherwise `source`

    def path(self) -> str:
        """Return the path of the file on this node."""
        return str(SparkFiles.get(self.shipped)) if self.shipped else self.source


def digest_of(path: str | Path) -> str:
    """Return the first 16 digits of a file's SHA-256."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()[:16]


class KerasExtractor:
    """The flattened output of one layer of a network.

    Attributes:
        batch: Pictures passed to the network at once: enough to keep a core busy, and 40 MB of
            pictures of 224 x 224 pixels.
        backend: Library that Keras uses; both give the same vectors, within 1e-4. Either uses a
            GPU that it finds.
    """

    batch = 32
    backend = BACKENDS[0]

    def __init__(self, name: str, size: int, layer: str, weights: NetworkWeights) -> None:
        self.name = name
        self.size = size
        self.layer = layer or DEFAULT_LAYERS.get(name, POOLED)
        self.weights = weights
        self.threads = 1

    def settings(self) -> dict[str, Any]:
        """Return the settings that the vectors depend on."""
        return {
            "name": self.name,
            "size": self.size,
            "layer": self.layer,
            "weights": self.weights.source,
            "weights_sha256": self.weights.digest,
        }

    def prepare(self, content: bytes) -> Array:
        """Decode red, green and blue 0 … 255 (uint8, [size, size, 3])."""
        return decode(content, "RGB", self.size)

    def features(self, batch: Array) -> Array:
        """Return the output of the layer, float32 [n, dimension], for [n, size, size, 3]."""
        model, preprocess = self._model()
        # Keras compiles the model for each batch size: pad the last batch.
        padded = np.zeros((self.batch, *batch.shape[1:]), dtype=np.float32)
        padded[: len(batch)] = batch
        output = np.asarray(model.predict_on_batch(preprocess(padded)))[: len(batch)]
        return output.reshape(len(batch), -1).astype(np.float32)

    def _model(self) -> tuple[Any, Any]:
        """Return the network up to the layer and its preprocessing, built once per process."""
        key = (self.name, str(self.size), self.layer, *self.weights)
        if key not in _MODELS:
            start_backend(self.backend, self.threads)
            _MODELS[key] = build_model(self)
        model: tuple[Any, Any] = _MODELS[key]
        return model


def start_backend(backend: str, threads: int) -> None:
    """Choose Keras's backend and limit its threads, so that workers do not compete for all cores.

    Call it before the first import of Keras.
    """
    os.environ["KERAS_BACKEND"] = backend
    if backend == "torch":
        import torch  # type: ignore[import-untyped,import-not-found,unused-ignore]

        torch.set_num_threads(threads)
        # TF32, on by default on GPUs, would change the vectors by more than 1e-4 of their size.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf  # type: ignore[import-untyped,import-not-found,unused-ignore]

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_tensor_float_32_execution(False)  # as with torch
        for gpu in tf.config.list_physical_devices("GPU"):
            # Several workers may share a GPU: none may allocate all of its memory.
            tf.config.experimental.set_memory_growth(gpu, enable=True)
    except RuntimeError:
        pass  # TensorFlow is already initialized in this process


def build_model(extractor: KerasExtractor) -> tuple[Any, Any]:
    """Build the network up to the layer, and return it with its preprocessing.

    Raises:
        ValueError: The layer does not exist, or the weights do not fit.
    """
    import keras  # type: ignore[import-untyped,import-not-found,unused-ignore]

    create, preprocess = application(extractor.name)
    source = extractor.weights.source
    if source.startswith("random:"):
        keras.utils.set_random_seed(int(source.partition(":")[2]))
    weights = "imagenet" if source == "imagenet" else None
    # Keras accepts other sizes than the network's own only without the imagenet weights.
    shape = {} if weights else {"input_shape": (extractor.size, extractor.size, 3)}
    network = create(weights=weights, include_top=True, **shape)
    if weights is None and not source.startswith("random:"):
        network.load_weights(extractor.weights.path())
    return keras.Model(network.inputs[0], find_layer(network, extractor).output), preprocess


def find_layer(network: Any, extractor: KerasExtractor) -> Any:
    """Return the extractor's layer of a network.

    Raises:
        ValueError: The layer does not exist.
    """
    names = [layer.name for layer in network.layers]
    if extractor.layer == POOLED:
        types = [type(layer).__name__ for layer in network.layers]
        names = [name for name, kind in zip(names, types) if kind == "GlobalAveragePooling2D"]
        if not names:
            raise ValueError(f"{extractor.name} has no pooled layer: set --layer")
        return network.get_layer(names[-1])
    if extractor.layer not in names:
        last = ", ".join(names[-8:])
        raise ValueError(f"{extractor.name} has no layer '{extractor.layer}'; the last are {last}")
    return network.get_layer(extractor.layer)


def application(name: str) -> tuple[Any, Any]:
    """Return a network of keras.applications by its lower-case name, and its preprocessing."""
    package = importlib.import_module("keras.applications")
    for entry in dir(package):
        create = getattr(package, entry)
        if entry.lower() == name and callable(create):
            module = importlib.import_module(create.__module__)
            return create, module.preprocess_input
    raise ValueError(f"no network '{name}' in keras.applications")


# ---- choice by name ------------------------------------------------------------------------------


def default_size(name: str) -> int:
    """Return the default side of pictures in pixels."""
    return 64 if name == "hog" else 224


def size_problem(name: str, size: int) -> str:
    """Return why an extractor does not support pictures of this size, or an empty string."""
    least = HogExtractor.cell * HogExtractor.block if name == "hog" else 32
    return "" if least <= size <= 1024 else f"{name} takes {least} to 1024 pixels"


def modules(name: str, backend: str) -> tuple[str, ...]:
    """Return the Python modules that an extractor needs on every node."""
    return ("PIL", "skimage") if name == "hog" else ("PIL", "keras", backend)


def create(spark: SparkSession, settings: dict[str, Any]) -> FeatureExtractor:
    """Create an extractor from settings: name, size; for a network layer, weights and backend."""
    extractor: FeatureExtractor
    if settings["name"] == "hog":
        extractor = HogExtractor(settings["size"])
    else:
        weights = ship_weights(spark, settings["weights"])
        layer = settings.get("layer") or ""
        extractor = KerasExtractor(settings["name"], settings["size"], layer, weights)
        extractor.backend = settings["backend"]
    extractor.threads = int(spark.sparkContext.getConf().get("spark.task.cpus", "1"))
    return extractor


def ship_weights(spark: SparkSession, source: str) -> NetworkWeights:
    """Return weights by name, by seed, or from a file that Spark copies to each node once.

    Raises:
        JobError: The seed is not a number, or the file does not exist.
    """
    if source == "imagenet":
        return NetworkWeights(source, "", "imagenet")
    kind, _, seed = source.partition(":")
    if kind == "random":
        if not seed.isdigit():
            raise JobError(f"--weights {source}: write random: and a whole number")
        return NetworkWeights(source, "", source)
    if not HadoopFiles(spark).exists(source):
        raise JobError(f"--weights {source}: no such file; or use imagenet, or random:SEED")
    spark.sparkContext.addFile(source)
    name = source.rstrip("/").rpartition("/")[2]
    return NetworkWeights(source, name, digest_of(SparkFiles.get(name)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose an extractor."""
    add = parser.add_argument
    add(
        "--extractor",
        choices=NAMES,
        default="hog",
        metavar="hog|vgg16|resnet50|…",
        help="hog, or a network of keras.applications (default: hog)",
    )
    add(
        "--size",
        type=positive_int,
        metavar="PIXELS",
        help="side of the scaled pictures (default: 64 for hog, 224 for networks)",
    )
    add(
        "--layer",
        metavar="NAME",
        help="layer of the network (default: fc2 of vgg16 and vgg19, else the last pooling layer)",
    )
    add(
        "--weights",
        default="imagenet",
        metavar="imagenet|random:SEED|PATH",
        help="weights of the network; a file (also s3://) is copied to each node once",
    )
    add(
        "--backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help=f"library that runs the network (default: {BACKENDS[0]})",
    )
