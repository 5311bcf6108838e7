"""Features from a network of keras.applications: VGG16's fc2, as the lecture had them, and others.

Keras is loaded inside a Python worker, once for all of its batches; what is pickled to it are
settings and the place of the weights, never a model.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
NAMES = (
    "convnextbase", "convnextlarge", "convnextsmall", "convnexttiny", "convnextxlarge",
    "densenet121", "densenet169", "densenet201", "efficientnetb0", "efficientnetb1",
    "efficientnetb2", "efficientnetb3", "efficientnetb4", "efficientnetb5", "efficientnetb6",
    "efficientnetb7", "efficientnetv2b0", "efficientnetv2b1", "efficientnetv2b2",
    "efficientnetv2b3", "efficientnetv2l", "efficientnetv2m", "efficientnetv2s",
    "inceptionresnetv2", "inceptionv3", "mobilenet", "mobilenetv2", "mobilenetv3large",
    "mobilenetv3small", "nasnetlarge", "nasnetmobile", "resnet101", "resnet101v2", "resnet152",
    "resnet152v2", "resnet50", "resnet50v2", "vgg16", "vgg19", "xception",
)  # fmt: skip
POOLED = "pooled"  # the last global average pooling, whatever the network calls it
LAYERS = {"vgg16": "fc2", "vgg19": "fc2"}  # they have none
_MODELS: dict[tuple[str, ...], Any] = {}  # of this Python worker, by everything they depend on


class Weights(NamedTuple):
    """Where a network's weights come from.

    Attributes:
        source: `imagenet`, `random:SEED`, or the name of a file.
        shipped: Name under which Spark brought a file to every node; empty: it is read as it is.
        digest: SHA-256 of the file, first 16 digits; else what `source` says.
    """

    source: str
    shipped: str
    digest: str

    def path(self) -> str:
        """The file on this node."""
        if not self.shipped:
            return self.source
        from pyspark import SparkFiles

        return str(SparkFiles.get(self.shipped))


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file, its first 16 digits."""
    told = hashlib.sha256()
    with Path(path).open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            told.update(chunk)
    return told.hexdigest()[:16]


class Network:
    """One layer's output of a network of keras.applications, flattened.

    Attributes:
        batch: Pictures given to the network at once: enough to keep a core busy, and 40 MB of
            pictures of 224 x 224 pixels.
    """

    batch = 32

    def __init__(self, name: str, size: int, layer: str, weights: Weights) -> None:
        self.name = name
        self.size = size
        self.layer = layer or LAYERS.get(name, POOLED)
        self.weights = weights
        self.threads = 1

    def settings(self) -> dict[str, Any]:
        """What the vectors depend on."""
        return {
            "name": self.name,
            "size": self.size,
            "layer": self.layer,
            "weights": self.weights.source,
            "weights_sha256": self.weights.digest,
        }

    def prepare(self, content: bytes) -> Array:
        """Red, green and blue in 0 … 255 (uint8, [size, size, 3]).

        Resized with bilinear weights over all pixels that fall on one (keras.utils.load_img takes
        the nearest); JPEG is decoded no larger than needed.
        """
        from PIL import Image

        with Image.open(io.BytesIO(content)) as picture:
            picture.draft("RGB", (self.size * 2, self.size * 2))
            wanted = (self.size, self.size)
            colours = picture.convert("RGB").resize(wanted, Image.Resampling.BILINEAR)
        return np.asarray(colours, dtype=np.uint8)

    def features(self, batch: Array) -> Array:
        """The layer's output: pictures [n, size, size, 3] in, float32 [n, dimension] out."""
        model, preprocess = self._model()
        # A last batch of another size would be compiled anew: it is filled up, and cut again.
        padded = np.zeros((self.batch, *batch.shape[1:]), dtype=np.float32)
        padded[: len(batch)] = batch
        made = np.asarray(model.predict_on_batch(preprocess(padded)))[: len(batch)]
        return made.reshape(len(batch), -1).astype(np.float32)

    def _model(self) -> tuple[Any, Any]:
        """The network up to the layer and its own preprocessing, made once for this process."""
        key = (self.name, str(self.size), self.layer, *self.weights)
        if key not in _MODELS:
            limit_threads(self.threads)
            _MODELS[key] = built(self)
        made: tuple[Any, Any] = _MODELS[key]
        return made


def limit_threads(threads: int) -> None:
    """TensorFlow with so many threads: workers that each take every core fight over them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import tensorflow as tf  # type: ignore[import-untyped,import-not-found,unused-ignore]

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for card in tf.config.list_physical_devices("GPU"):
            # Several workers may share a card: none takes all of its memory at once.
            tf.config.experimental.set_memory_growth(card, enable=True)
    except RuntimeError:
        pass  # it has run in this process already, and its threads are what they are


def built(network: Network) -> tuple[Any, Any]:
    """The network up to its layer, and its preprocessing.

    Raises:
        ValueError: There is no such layer, or the weights do not fit.
    """
    import keras  # type: ignore[import-untyped,import-not-found,unused-ignore]

    make, preprocess = application(network.name)
    source = network.weights.source
    if source.startswith("random:"):
        keras.utils.set_random_seed(int(source.partition(":")[2]))
    given = "imagenet" if source == "imagenet" else None
    whole = make(weights=given, include_top=True, **shape_of(network))
    if given is None and not source.startswith("random:"):
        whole.load_weights(network.weights.path())
    return keras.Model(whole.inputs, layer_of(whole, network).output), preprocess


def layer_of(whole: Any, network: Network) -> Any:
    """The network's layer, by its name or as `pooled`.

    Raises:
        ValueError: There is none.
    """
    names = [layer.name for layer in whole.layers]
    if network.layer == POOLED:
        kinds = [type(layer).__name__ for layer in whole.layers]
        pooled = [name for name, kind in zip(names, kinds) if kind == "GlobalAveragePooling2D"]
        names = pooled[-1:]
    elif network.layer in names:
        names = [network.layer]
    else:
        names = names[-8:]  # the last ones are those that are asked for
        told = ", ".join(names)
        raise ValueError(f"{network.name} has no layer '{network.layer}'; the last are {told}")
    if not names:
        raise ValueError(f"{network.name} has no pooled layer: name one")
    return whole.get_layer(names[0])


def shape_of(network: Network) -> dict[str, Any]:
    """Keras takes other sizes than the network's own only when its weights are not imagenet's."""
    if network.weights.source == "imagenet":
        return {}
    return {"input_shape": (network.size, network.size, 3)}


def application(name: str) -> tuple[Any, Any]:
    """A network of keras.applications and its preprocessing, by the lower-case name."""
    package = importlib.import_module("keras.applications")
    for entry in dir(package):
        made = getattr(package, entry)
        if entry.lower() == name and callable(made):
            module = importlib.import_module(made.__module__)
            return made, module.preprocess_input
    raise ValueError(f"no network '{name}' in keras.applications")
