"""jobs/_networks.py: networks of keras.applications, with weights made on the spot.

Keras is an extra that is not installed by default: without it, what needs it stands on a Keras of a
few lines that keeps to the same calls, and bench/bench_features.py runs the real one.
"""

import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import _common
import _extractors
import _networks
import numpy as np
import pytest
from _common import JobError
from _networks import Network, Weights
from PIL import Image


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (50, 40), (shade, 10, 200)).save(buffer, "png")
    return buffer.getvalue()


class FakeModel:
    """Two layers: the mean colour, and that times weights made from a seed or read from a file."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix
        self.layers = [SimpleNamespace(name="pool"), SimpleNamespace(name="fc2")]
        self.inputs: list[Any] = []
        self.batches: list[int] = []

    def get_layer(self, name: str) -> Any:
        return SimpleNamespace(output=(self, name))

    def load_weights(self, path: str) -> None:
        self.matrix = np.load(path)


class FakeCut:
    """What keras.Model(inputs, output) is here."""

    def __init__(self, inputs: Any, output: Any) -> None:
        self.whole, self.layer = output

    def predict_on_batch(self, batch: Any) -> Any:
        self.whole.batches.append(len(batch))
        means = batch.mean(axis=(1, 2))
        return means @ self.whole.matrix if self.layer == "fc2" else means


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> list[FakeModel]:
    """The few calls of Keras and TensorFlow that _networks makes; models made, in order."""
    made: list[FakeModel] = []
    state = {"seed": 0}

    def vgg16(weights: str | None, include_top: bool, **shape: Any) -> FakeModel:
        made.append(FakeModel(np.random.default_rng(state["seed"]).standard_normal((3, 5))))
        return made[-1]

    module = ModuleType("vgg16")
    vgg16.__module__ = "keras.applications.vgg16"
    module.preprocess_input = lambda batch: batch - 100.0  # type: ignore[attr-defined]
    applications = ModuleType("keras.applications")
    applications.VGG16 = vgg16  # type: ignore[attr-defined]
    top = ModuleType("keras")
    top.Model = FakeCut  # type: ignore[attr-defined]
    top.utils = SimpleNamespace(  # type: ignore[attr-defined]
        set_random_seed=lambda seed: state.update(seed=seed)
    )
    threads: list[int] = []
    config = SimpleNamespace(
        threading=SimpleNamespace(
            set_intra_op_parallelism_threads=threads.append,
            set_inter_op_parallelism_threads=threads.append,
        ),
        list_physical_devices=lambda _: [],
    )
    tensorflow = ModuleType("tensorflow")
    tensorflow.config = config  # type: ignore[attr-defined]
    for name, fake in {
        "keras": top,
        "keras.applications": applications,
        "keras.applications.vgg16": module,
        "tensorflow": tensorflow,
    }.items():
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr(_networks, "_MODELS", {})
    return made


def network(layer: str = "", source: str = "random:7") -> Network:
    return Network("vgg16", 32, layer, Weights(source, "", source))


def test_a_layers_output_in_batches(keras: list[FakeModel]) -> None:
    extractor = network()
    batch = np.stack([extractor.prepare(png(shade)) for shade in (10, 90, 250)])
    assert batch.shape == (3, 32, 32, 3)
    assert batch.dtype == np.uint8
    made = extractor.features(batch)
    assert made.dtype == np.float32
    wanted = (np.array([[10, 10, 200], [90, 10, 200], [250, 10, 200]]) - 100.0) @ keras[0].matrix
    np.testing.assert_allclose(made, wanted, rtol=1e-5)
    assert keras[0].batches == [32]  # filled up: no second shape to compile
    extractor.features(batch)
    assert len(keras) == 1  # one model for the whole of a worker's life
    assert network("pool").features(batch).shape == (3, 3)


def test_weights_by_seed_and_by_file(keras: list[FakeModel], tmp_path: Path) -> None:
    batch = np.stack([network().prepare(png(90))])
    one, same = network(), network()
    first = one.features(batch)
    _networks._MODELS.clear()
    np.testing.assert_array_equal(same.features(batch), first)
    assert not np.allclose(network(source="random:8").features(batch), first)
    np.save(tmp_path / "w.npy", np.ones((3, 5)))
    from_file = network(source=str(tmp_path / "w.npy")).features(batch)
    np.testing.assert_allclose(from_file, np.zeros((1, 5)), atol=1e-4)
    assert len(_networks.digest_of(tmp_path / "w.npy")) == 16


def test_a_layer_or_network_that_is_not_there(keras: list[FakeModel]) -> None:
    batch = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="no layer 'fc9'; the last are pool, fc2"):
        network("fc9").features(batch)
    with pytest.raises(ValueError, match="no pooled layer: name one"):
        network("pooled").features(batch)
    with pytest.raises(ValueError, match="no network 'vgg99'"):
        Network("vgg99", 32, "", Weights("random:1", "", "")).features(batch)


def test_settings_name_the_weights() -> None:
    told = Network("vgg16", 224, "", Weights("s3://b/w.h5", "w.h5", "abc")).settings()
    assert told["layer"] == "fc2"
    assert told["weights_sha256"] == "abc"
    assert Network("resnet50", 224, "", Weights("imagenet", "", "")).layer == "pooled"


@pytest.mark.spark
def test_weights_are_shipped_once(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "vgg.weights.h5").write_bytes(b"weights")
    shipped = _extractors.ship_weights(spark, str(tmp_path / "vgg.weights.h5"))
    assert Path(shipped.path()).read_bytes() == b"weights"
    assert shipped.digest == _networks.digest_of(tmp_path / "vgg.weights.h5")
    _common.ship(spark, _networks)
    paths = spark.sparkContext.parallelize([0, 1], 2).map(lambda _: shipped.path()).collect()
    assert len(set(paths)) == 1
    assert _extractors.ship_weights(spark, "imagenet").shipped == ""
    for wrong, told in (("random:x", "a whole number"), (str(tmp_path / "no.h5"), "no such file")):
        with pytest.raises(JobError, match=told):
            _extractors.ship_weights(spark, wrong)
