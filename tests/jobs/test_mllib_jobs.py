"""The jobs that use MLlib, against scikit-learn and numpy."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import classifiers
import recommend
from tests.jobs.conftest import Run

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def cancer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a LIBSVM file of 569 tumours in two classes, columns scaled."""
    from sklearn.datasets import dump_svmlight_file, load_breast_cancer
    from sklearn.preprocessing import scale

    x, y = load_breast_cancer(return_X_y=True)
    path = tmp_path_factory.mktemp("cancer") / "cancer.libsvm"
    dump_svmlight_file(scale(x)[:, :8], y, str(path), zero_based=False)
    return path


def test_classifiers_logistic_equals_scikit_learn(run: Run, cancer: Path, tmp_path: Path) -> None:
    from pyspark.ml.classification import LogisticRegressionModel
    from sklearn.linear_model import LogisticRegression

    figures = run(classifiers, "--input", str(cancer), "--reg", "0.01", "--test", "0.3")
    rows = pd.read_parquet(tmp_path / "out" / "predictions")
    assert figures["n_test"] == len(rows)
    assert figures["n_train"] + len(rows) == 569
    assert figures["n_correct"] == (rows["label"] == rows["prediction"]).sum()
    assert figures["accuracy"] > 0.9
    from sklearn.metrics import roc_auc_score

    assert figures["auc"] == pytest.approx(roc_auc_score(rows["label"], rows["probability"]))
    model = LogisticRegressionModel.load(str(tmp_path / "out" / "model"))
    from sklearn.datasets import load_svmlight_file

    x, y = load_svmlight_file(str(cancer))
    spread = x.toarray().std(axis=0, ddof=1)  # MLlib penalizes weights of scaled columns
    theirs = LogisticRegression(C=1 / (0.01 * figures["n_train"]), tol=1e-8).fit(x / spread, y)
    cosine = np.dot(theirs.coef_[0] / spread, model.coefficients.toArray())
    cosine /= np.linalg.norm(theirs.coef_[0] / spread) * model.coefficients.norm(2)
    assert cosine > 0.98  # trained on 70 % of the rows, theirs on all
    assert {item["feature"] for item in figures["top"]} == set(range(8))


@pytest.mark.parametrize("kind", ["tree", "forest"])
def test_classifiers_trees_are_as_accurate_as_scikit_learn(
    run: Run, cancer: Path, tmp_path: Path, kind: str
) -> None:
    from sklearn.datasets import load_svmlight_file
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_score
    from sklearn.tree import DecisionTreeClassifier

    more = ("--model", kind, "--max-depth", "3", "--trees", "5", "--test", "0.3")
    figures = run(classifiers, "--input", str(cancer), *more)
    rows = pd.read_parquet(tmp_path / "out" / "predictions")
    assert figures["auc"] == pytest.approx(roc_auc_score(rows["label"], rows["probability"]))
    x, y = load_svmlight_file(str(cancer))
    expected = cross_val_score(DecisionTreeClassifier(max_depth=3, random_state=0), x, y).mean()
    assert figures["accuracy"] > expected - 0.05
    assert 1 <= figures["depth"] <= 3
    assert sum(item["importance"] for item in figures["top"]) == pytest.approx(1)


def test_recommend_serves_the_recommendations_of_spark(run: Run, tmp_path: Path) -> None:
    size = ("--users", "60", "--items", "30", "--ratings", "20", "--requests", "20")
    more = ("--iterations", "4", "--rank", "3", "--partitions", "2", "--blocks", "2")
    figures = run(recommend, *size, *more)
    assert (figures["users"], figures["items"]) == (60, 30)
    assert figures["rmse"] < 1.2  # the ratings' standard deviation is 1.8
    for latency in (figures["served"], figures["served_by_spark"]):
        assert 0 < latency["p50_ms"] < latency["p95_ms"]
    assert figures["served"]["p95_ms"] < figures["served_by_spark"]["p50_ms"]
    rows = pd.read_parquet(tmp_path / "out" / "recommendations").set_index("user")
    assert len(rows) == 60
    assert [len(row) for row in rows["recommendations"]] == [recommend.TOP] * 60


def test_best_returns_items_with_largest_products() -> None:
    rng = np.random.default_rng(0)
    items, user, ids = rng.normal(size=(50, 4)), rng.normal(size=4), np.arange(100, 150)
    expected = ids[np.argsort(-(items @ user))][: recommend.TOP]
    assert recommend.best(user, items, ids) == expected.tolist()
    assert recommend.best(user, items[:2], ids[:2]) == sorted(
        ids[:2].tolist(), key=lambda item: -(items @ user)[item - 100]
    )


def test_generated_ratings_depend_on_seed_and_user_only() -> None:
    args = argparse.Namespace(seed=3, items=9, ratings=5)
    rows = recommend.generate(2, args)
    assert rows == recommend.generate(2, args)
    assert len({item for _, item, _ in rows}) == 5
    assert rows != recommend.generate(3, args)
