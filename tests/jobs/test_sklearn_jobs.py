"""The jobs that run scikit-learn on executors, against scikit-learn on one machine."""

import argparse
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

import ensembles
import gridsearch
import scoring
from common import blocks
from tests.jobs.conftest import Run

pytestmark = pytest.mark.spark
SIZE = ("--rows", "400", "--features", "4", "--partitions", "2")


def _rows(classes: int) -> tuple[Any, Any]:
    args = argparse.Namespace(rows=400, features=4, seed=1, classes=classes)
    block = blocks.generate(0, args, "classes")
    return block.x, block.y


def test_gridsearch_equals_grid_search_cv_and_mllib(run: Run, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    grid = '{"C": [0.0001, 0.01]}'
    search = (*SIZE, "--grid", grid, "--folds", "2")
    figures = run(gridsearch, *search)
    mllib = run(gridsearch, *search, "--library", "mllib")
    x, y = _rows(2)
    theirs = GridSearchCV(LogisticRegression(max_iter=1000), {"C": [0.0001, 0.01]}, cv=2).fit(x, y)
    scores = dict(zip((0.0001, 0.01), theirs.cv_results_["mean_test_score"], strict=True))
    found = {item["C"]: item["accuracy"] for item in figures["candidates"]}
    assert found == pytest.approx(scores)
    assert figures["candidates"][0]["C"] == theirs.best_params_["C"]
    assert figures["fits"] == 4
    assert figures["rows"] == mllib["rows"] == 400
    theirs_by_mllib = {item["C"]: item["accuracy"] for item in mllib["candidates"]}
    assert theirs_by_mllib == pytest.approx(scores, abs=0.04)
    assert mllib["accuracy"] == max(theirs_by_mllib.values())
    best = joblib.load(tmp_path / "out" / "model.joblib")
    np.testing.assert_array_equal(best.predict(x), theirs.predict(x))


def test_gridsearch_samples_candidates_of_the_grid(run: Run) -> None:
    grid = '{"max_depth": [1, 2, 3], "n_estimators": [2, 4]}'
    arguments = ("--model", "forest", "--grid", grid, "--samples", "2", "--folds", "2")
    figures = run(gridsearch, *SIZE, *arguments)
    assert len({tuple(item.values())[:2] for item in figures["candidates"]}) == 2
    assert figures["candidates"][0]["accuracy"] >= figures["candidates"][1]["accuracy"]


def test_gridsearch_forests_of_both_libraries_are_as_accurate(run: Run) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    expected = cross_val_score(RandomForestClassifier(20, max_depth=6), *_rows(2), cv=2).mean()
    grid = '{"n_estimators": [20], "max_depth": [1, 6]}'
    search = (*SIZE, "--model", "forest", "--grid", grid, "--folds", "2", "--library")
    for library in ("scikit-learn", "mllib"):
        figures = run(gridsearch, *search, library)
        best, other = figures["candidates"]
        assert (best["max_depth"], other["max_depth"]) == (6, 1)
        assert best["accuracy"] == pytest.approx(expected, abs=0.05)


def test_gridsearch_rejects_unknown_parameters(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*SIZE, "--grid", '{"depth": [1]}', "--output", str(tmp_path)]
    assert gridsearch.main(arguments) == 2
    assert "not all of ['depth'] are parameters of logistic" in capsys.readouterr().err
    of_forest = [*SIZE, "--grid", '{"max_depth": [1]}', "--output", str(tmp_path)]
    assert gridsearch.main([*of_forest, "--library", "mllib"]) == 2
    assert "not all of ['max_depth'] are parameters of logistic" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gridsearch.main([*SIZE, "--folds", "1", "--output", str(tmp_path)])


@pytest.mark.parametrize("method", ["one-vs-rest", "voting"])
def test_ensembles_predict_as_scikit_learn(run: Run, method: str) -> None:
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    figures = run(ensembles, *SIZE, "--method", method, "--classes", "3")
    x, test_x, y, test_y = train_test_split(*_rows(3), test_size=0.25, random_state=1)
    logistic = LogisticRegression(max_iter=1000)
    members = [
        logistic,
        GaussianNB(),
        KNeighborsClassifier(),
        DecisionTreeClassifier(random_state=0),
    ]
    if method == "voting":
        theirs = VotingClassifier([(str(n), model) for n, model in enumerate(members)])
        scores = [model.fit(x, y).score(test_x, test_y) for model in members]
        assert figures["member_accuracies"] == pytest.approx(scores)
    else:
        theirs = OneVsRestClassifier(logistic)
    assert figures["accuracy"] == pytest.approx(theirs.fit(x, y).score(test_x, test_y))


def test_bagging_is_more_accurate_than_its_members(run: Run, tmp_path: Path) -> None:
    figures = run(ensembles, *SIZE, "--method", "bagging", "--classes", "3", "--members", "9")
    assert figures["members"] == len(figures["member_accuracies"]) == 9
    assert figures["accuracy"] > np.mean(figures["member_accuracies"])
    trees = joblib.load(tmp_path / "out" / "models.joblib")
    assert len({tree.tree_.node_count for tree in trees}) > 1  # of different samples


def test_two_step_predicts_the_group_and_then_the_class(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figures = run(ensembles, *SIZE, "--method", "two-step", "--classes", "4", "--groups", "2")
    assert figures["members"] == 3
    assert figures["accuracy"] > 0.4
    groups, *models = joblib.load(tmp_path / "out" / "models.joblib")
    assert [list(model.classes_) for model in (groups, *models)] == [[0, 1], [0, 2], [1, 3]]
    few = [*SIZE, "--method", "two-step", "--classes", "3", "--output", str(tmp_path)]
    assert ensembles.main(few) == 2
    assert "3 classes are too few" in capsys.readouterr().err


@pytest.mark.parametrize("udf", ["pandas", "row"])
def test_scoring_predicts_as_the_model(run: Run, tmp_path: Path, udf: str) -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = _rows(2)
    model = LogisticRegression().fit(x, y)
    joblib.dump(model, tmp_path / "model.joblib")
    figures = run(scoring, *SIZE, "--model", f"{tmp_path}/model.joblib", "--udf", udf)
    rows = pd.read_parquet(tmp_path / "out" / "predictions")
    assert figures["n_correct"] == (model.predict(x) == y).sum()
    assert rows["prediction"].sum() == model.predict(x).sum()
    assert figures["rows"] == len(rows) == 400


def test_scoring_rejects_model_of_other_rows(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sklearn.linear_model import LogisticRegression

    joblib.dump(LogisticRegression().fit(np.eye(3), [0, 1, 1]), tmp_path / "model.joblib")
    arguments = [*SIZE, "--output", str(tmp_path), "--model"]
    assert scoring.main([*arguments, f"{tmp_path}/model.joblib"]) == 2
    assert scoring.main([*arguments, f"{tmp_path}/none"]) == 2
    errors = capsys.readouterr().err
    assert "the rows have 4 features, the model 3" in errors
    assert "no such file" in errors
