"""Networks of keras.applications as extractors.

Keras is not installed by default, so these tests use a small fake of the functions that are called.
bench/bench_features.py runs the real Keras.
"""

import io
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.job import JobError
from features import extractors
from features.extractors import KerasExtractor, NetworkWeights


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (50, 40), (shade, 10, 200)).save(buffer, "png")
    return buffer.getvalue()


class FakeModel:
    """Two layers: the mean colour, and its product with weights from a seed or a file."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix
        self.layers = [SimpleNamespace(name="pool"), SimpleNamespace(name="fc2")]
        self.inputs = ["pictures"]
        self.batches: list[int] = []

    def get_layer(self, name: str) -> Any:
        return SimpleNamespace(output=(self, name))

    def load_weights(self, path: str) -> None:
        self.matrix = np.load(path)


class FakeSubmodel:
    """The model that keras.Model(inputs, output) returns."""

    def __init__(self, inputs: Any, output: Any) -> None:
        self.model, self.layer = output

    def predict_on_batch(self, batch: Any) -> Any:
        self.model.batches.append(len(batch))
        means = batch.mean(axis=(1, 2))
        return means @ self.model.matrix if self.layer == "fc2" else means


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> list[FakeModel]:
    """Install fake modules keras and tensorflow. Return the list of created models."""
    models: list[FakeModel] = []
    state = {"seed": 0}

    def vgg16(weights: str | None, include_top: bool, **shape: Any) -> FakeModel:
        models.append(FakeModel(np.random.default_rng(state["seed"]).standard_normal((3, 5))))
        return models[-1]

    module = ModuleType("vgg16")
    vgg16.__module__ = "keras.applications.vgg16"
    module.preprocess_input = lambda batch: batch - 100.0  # type: ignore[attr-defined]
    applications = ModuleType("keras.applications")
    applications.VGG16 = vgg16  # type: ignore[attr-defined]
    top = ModuleType("keras")
    top.Model = FakeSubmodel  # type: ignore[attr-defined]
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
        experimental=SimpleNamespace(enable_tensor_float_32_execution=lambda _: None),
    )
    tensorflow = ModuleType("tensorflow")
    tensorflow.config = config  # type: ignore[attr-defined]
    torch = ModuleType("torch")
    torch.set_num_threads = lambda count: state.update(torch=count)  # type: ignore[attr-defined]
    torch.state = state  # type: ignore[attr-defined]
    torch.backends = SimpleNamespace(  # type: ignore[attr-defined]
        cudnn=SimpleNamespace(allow_tf32=True),
        cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)),
    )
    for name, fake in {
        "keras": top,
        "keras.applications": applications,
        "keras.applications.vgg16": module,
        "tensorflow": tensorflow,
        "torch": torch,
    }.items():
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr(extractors, "_MODELS", {})
    return models


def network(layer: str = "", source: str = "random:7") -> KerasExtractor:
    return KerasExtractor("vgg16", 32, layer, NetworkWeights(source, "", source))


def test_features_returns_the_output_of_the_layer(keras: list[FakeModel]) -> None:
    extractor = network()
    batch = np.stack([extractor.prepare(png(shade)) for shade in (10, 90, 250)])
    assert batch.shape == (3, 32, 32, 3)
    assert batch.dtype == np.uint8
    vectors = extractor.features(batch)
    assert vectors.dtype == np.float32
    expected = (np.array([[10, 10, 200], [90, 10, 200], [250, 10, 200]]) - 100.0) @ keras[0].matrix
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)
    assert keras[0].batches == [32]  # padded
    extractor.features(batch)
    assert len(keras) == 1  # one model per process
    assert network("pool").features(batch).shape == (3, 3)


def test_weights_from_seed_and_file(keras: list[FakeModel], tmp_path: Path) -> None:
    batch = np.stack([network().prepare(png(90))])
    one, same = network(), network()
    first = one.features(batch)
    extractors._MODELS.clear()
    np.testing.assert_array_equal(same.features(batch), first)
    assert not np.allclose(network(source="random:8").features(batch), first)
    np.save(tmp_path / "w.npy", np.ones((3, 5)))
    from_file = network(source=str(tmp_path / "w.npy")).features(batch)
    np.testing.assert_allclose(from_file, np.zeros((1, 5)), atol=1e-4)
    assert len(extractors.digest_of(tmp_path / "w.npy")) == 16


def test_unknown_layer_or_network_is_rejected(keras: list[FakeModel]) -> None:
    batch = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="no layer 'fc9'; the last are pool, fc2"):
        network("fc9").features(batch)
    with pytest.raises(ValueError, match="no pooled layer: set --layer"):
        network("pooled").features(batch)
    with pytest.raises(ValueError, match="no network 'vgg99'"):
        KerasExtractor("vgg99", 32, "", NetworkWeights("random:1", "", "")).features(batch)


@pytest.mark.parametrize("backend", extractors.BACKENDS)
def test_backend_is_set_before_keras_is_used(
    keras: list[FakeModel], monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    extractor = pickle.loads(pickle.dumps(network()))  # noqa: S301 - as Spark does
    extractor.backend, extractor.threads = backend, 3
    extractor.features(np.stack([network().prepare(png(90))]))
    assert os.environ["KERAS_BACKEND"] == backend
    torch: Any = sys.modules["torch"]
    assert torch.state.get("torch") == (3 if backend == "torch" else None)
    assert torch.backends.cudnn.allow_tf32 == (backend != "torch")
    assert extractors.modules("vgg16", backend) == ("PIL", "keras", backend)
    assert extractors.modules("hog", backend) == ("PIL", "skimage")
    assert "backend" not in extractor.settings()  # the vectors do not depend on it


def test_settings_contain_layer_and_weights() -> None:
    settings = KerasExtractor(
        "vgg16", 224, "", NetworkWeights("s3://b/w.h5", "w.h5", "abc")
    ).settings()
    assert settings["layer"] == "fc2"
    assert settings["weights_sha256"] == "abc"
    assert KerasExtractor("resnet50", 224, "", NetworkWeights("imagenet", "", "")).layer == "pooled"


@pytest.mark.spark
def test_ship_weights_copies_a_file_to_the_nodes(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "vgg.weights.h5").write_bytes(b"weights")
    shipped = extractors.ship_weights(spark, str(tmp_path / "vgg.weights.h5"))
    assert Path(shipped.path()).read_bytes() == b"weights"
    assert shipped.digest == extractors.digest_of(tmp_path / "vgg.weights.h5")
    paths = spark.sparkContext.parallelize([0, 1], 2).map(lambda _: shipped.path()).collect()
    assert len(set(paths)) == 1
    assert extractors.ship_weights(spark, "imagenet").shipped == ""
    for wrong, message in (
        ("random:x", "a whole number"),
        (str(tmp_path / "no.h5"), "no such file"),
    ):
        with pytest.raises(JobError, match=message):
            extractors.ship_weights(spark, wrong)
