"""jobs/classify.py and jobs/_models.py: the study's models put to use."""

import json
from pathlib import Path
from typing import Any

import classify
import numpy as np
import pandas as pd
import pytest
import svm
from _common import Files
from _learning import Group
from _models import read, to_mllib, to_sklearn
from _multiclass import Panel

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def study(vectors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("study")
    more = ("--task", "both", "--shares", "0.5,0.8", "--solver", "gram", "--keep", "all")
    assert svm.main(["--features", str(vectors), "--output", str(output), *more]) == 0
    return output


def features(vectors: Path) -> tuple[Any, Any]:
    table = pd.read_parquet(vectors / "features").sort_values("path")
    return np.stack(list(table["features"])).astype(np.float64), table["label"].to_numpy()


@pytest.mark.parametrize("method", ["one-vs-all", "voting"])
def test_pictures_are_said(digits: Path, study: Path, tmp_path: Path, method: str) -> None:
    (tmp_path / "in").mkdir()
    for name in ("1_1.png", "3_2.png", "8_3.png"):
        (tmp_path / "in" / name).write_bytes((digits / name).read_bytes())
    (tmp_path / "in" / "nameless.png").write_bytes((digits / "3_2.png").read_bytes())
    (tmp_path / "in" / "8_9.png").write_text("broken")
    asked = ["--input", str(tmp_path / "in"), "--models", str(study), "--method", method]
    assert classify.main([*asked, "--output", str(tmp_path / "out")]) == 0
    table = pd.read_parquet(tmp_path / "out" / "classes").set_index("path")
    assert list(table.columns) == ["label", "said", "margin", "reason"]
    assert table.loc["nameless.png", "said"] == table.loc["3_2.png", "said"]
    assert pd.isna(table.loc["nameless.png", "label"])
    assert pd.isna(table.loc["8_9.png", "said"])
    assert "cannot identify" in table.loc["8_9.png", "reason"]
    told = json.loads((tmp_path / "out" / "result.json").read_text())["figures"]
    assert (told["pictures"], told["broken"], told["n_known"]) == (5, 1, 3)
    assert told["n_correct"] >= 2


def test_a_panel_says_what_the_study_counted(vectors: Path, study: Path, spark: Any) -> None:
    """By the weights of one share: the same accuracy as multiclass.parquet has."""
    x, labels = features(vectors)
    splits = pd.read_parquet(study / "splits.parquet").sort_values("path")
    tests = (splits["u"] >= 0.5).to_numpy()
    files = Files(spark)
    multiclass = pd.read_parquet(study / "multiclass.parquet").set_index(["method", "share"])
    sides = {"one-vs-all": [("1", "all"), ("3", "all"), ("8", "all")]}
    sides["pairs"] = [("1", "3"), ("1", "8"), ("3", "8")]
    for task, method in (("one-vs-all", "one-vs-all"), ("pairs", "voting")):
        groups = [Group(task, *side) for side in sides[task]]
        panel = Panel.of([(g, read(files, str(study), g, 0.5)) for g in groups])
        said, _ = panel.say(x[tests])
        right = np.array(panel.classes)[said] == labels[tests]
        assert int(right.sum()) == multiclass.loc[(method, 0.5), "n_correct"]


def test_models_load_elsewhere(vectors: Path, study: Path, spark: Any, tmp_path: Path) -> None:
    from pyspark.mllib.classification import LogisticRegressionModel, SVMModel

    x, labels = features(vectors)
    x, labels = x[labels != "8"], labels[labels != "8"]
    weights = read(Files(spark), str(study), Group("pairs", "1", "3"))
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


def test_what_is_missing_is_told(
    digits: Path, study: Path, vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--input", str(digits), "--output", str(tmp_path / "out"), "--models"]
    assert classify.main([*asked, str(tmp_path)]) == 2
    assert "not the --output of the svm job" in capsys.readouterr().err
    with pytest.raises(Exception, match="not all there are"):
        Panel.of([(Group("pairs", "a", "b"), np.ones(2)), (Group("pairs", "a", "c"), np.ones(2))])
