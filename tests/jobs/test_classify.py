"""The classify job, and reading the models of a study."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import classify
from common.files import HadoopFiles
from svm import study
from svm.dataset import ClassPair
from svm.outputs import MulticlassModel, read_model, to_mllib, to_sklearn

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def study_output(vectors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("study")
    more = ("--task", "both", "--shares", "0.5,0.8", "--solver", "gram", "--keep", "all")
    assert study.main(["--features", str(vectors), "--output", str(output), *more]) == 0
    return output


def features(vectors: Path) -> tuple[Any, Any]:
    table = pd.read_parquet(vectors / "features").sort_values("path")
    return np.stack(list(table["features"])).astype(np.float64), table["label"].to_numpy()


@pytest.mark.parametrize("method", ["one-vs-all", "voting"])
def test_classify_predicts_readable_pictures(
    digits: Path, study_output: Path, tmp_path: Path, method: str
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("1_1.png", "3_2.png", "8_3.png"):
        (tmp_path / "in" / name).write_bytes((digits / name).read_bytes())
    (tmp_path / "in" / "nameless.png").write_bytes((digits / "3_2.png").read_bytes())
    (tmp_path / "in" / "8_9.png").write_text("broken")
    arguments = ["--input", str(tmp_path / "in"), "--models", str(study_output), "--method", method]
    assert classify.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    table = pd.read_parquet(tmp_path / "out" / "classes").set_index("path")
    assert list(table.columns) == ["label", "predicted", "margin", "reason"]
    assert table.loc["nameless.png", "predicted"] == table.loc["3_2.png", "predicted"]
    assert pd.isna(table.loc["nameless.png", "label"])
    assert pd.isna(table.loc["8_9.png", "predicted"])
    assert "cannot identify" in table.loc["8_9.png", "reason"]
    figures = json.loads((tmp_path / "out" / "result.json").read_text())["figures"]
    assert (figures["pictures"], figures["broken"], figures["n_known"]) == (5, 1, 3)
    assert figures["n_correct"] >= 2


def test_multiclass_model_predicts_as_the_study(
    vectors: Path, study_output: Path, spark: Any
) -> None:
    """The weights of one share have the accuracy of multiclass.parquet."""
    x, labels = features(vectors)
    splits = pd.read_parquet(study_output / "splits.parquet").sort_values("path")
    tests = (splits["u"] >= 0.5).to_numpy()
    files = HadoopFiles(spark)
    multiclass = pd.read_parquet(study_output / "multiclass.parquet").set_index(["method", "share"])
    sides = {"one-vs-all": [("1", "all"), ("3", "all"), ("8", "all")]}
    sides["pairs"] = [("1", "3"), ("1", "8"), ("3", "8")]
    for task, method in (("one-vs-all", "one-vs-all"), ("pairs", "voting")):
        pairs = [ClassPair(task, *side) for side in sides[task]]
        model = MulticlassModel.of(
            [(pair, read_model(files, str(study_output), pair, 0.5)) for pair in pairs]
        )
        predicted, _ = model.predict(x[tests])
        right = np.array(model.classes)[predicted] == labels[tests]
        assert int(right.sum()) == multiclass.loc[(method, 0.5), "n_correct"]


def test_models_convert_to_sklearn_and_mllib(
    vectors: Path, study_output: Path, spark: Any, tmp_path: Path
) -> None:
    from pyspark.mllib.classification import LogisticRegressionModel, SVMModel

    x, labels = features(vectors)
    x, labels = x[labels != "8"], labels[labels != "8"]
    weights = read_model(HadoopFiles(spark), str(study_output), ClassPair("pairs", "1", "3"))
    positive = x @ weights > 0
    for sides in (("1", "3"), ("3", "1")):
        model = to_sklearn(weights if sides[0] == "1" else -weights, *sides)
        assert (model.predict(x) == np.where(positive, "1", "3")).all()
    saved = to_mllib(weights)
    saved.save(spark.sparkContext, str(tmp_path / "model"))
    loaded = SVMModel.load(spark.sparkContext, str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.weights.toArray(), weights)
    assert [loaded.predict(row) for row in x] == list(positive.astype(int))
    logistic = to_mllib(weights, "logistic")
    assert isinstance(logistic, LogisticRegressionModel)
    assert [logistic.predict(row) for row in x[:5]] == list(positive[:5].astype(int))


def test_missing_models_are_reported(
    digits: Path,
    study_output: Path,
    vectors: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--input", str(digits), "--output", str(tmp_path / "out"), "--models"]
    assert classify.main([*arguments, str(tmp_path)]) == 2
    assert "not the --output of the svm job" in capsys.readouterr().err
    with pytest.raises(Exception, match="2 models for 3 classes: 3 are needed"):
        MulticlassModel.of(
            [(ClassPair("pairs", "a", "b"), np.ones(2)), (ClassPair("pairs", "a", "c"), np.ones(2))]
        )
