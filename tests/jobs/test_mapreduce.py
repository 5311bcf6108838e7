"""The jobs that count and sum with MapReduce, against collections, numpy and scikit-learn."""

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bagofwords
import lineage
import linreg
import logreg
import naivebayes
from common import blocks, documents, job
from tests.jobs.conftest import Run

pytestmark = pytest.mark.spark

SPAM = ["cheap pills cheap", "cheap watches now", "win money now", "Money! cheap money"]
HAM = ["meeting at noon", "notes of the meeting", "lunch at noon?", "the notes"]


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    folder = tmp_path / "mails"
    for name, texts in (("spam", SPAM), ("ham", HAM)):
        (folder / name).mkdir(parents=True)
        for index, text in enumerate(texts * 3):
            (folder / name / f"{index}.txt").write_text(text)
    return folder


@pytest.mark.parametrize("combine", ["reduce", "group"])
def test_bagofwords_counts_words_and_documents(
    run: Run, mails: Path, tmp_path: Path, combine: str
) -> None:
    figures = run(bagofwords, "--input", str(mails), "--combine", combine)
    bags = [Counter(re.findall(r"\w+", text.lower())) for text in (SPAM + HAM) * 3]
    counts, seen = sum(bags, Counter[str]()), Counter(word for bag in bags for word in bag)
    assert figures["documents"] == len(bags)
    assert figures["words"] == counts.total()
    assert figures["vocabulary"] == len(counts)
    parts = sorted((tmp_path / "out" / "counts").glob("part-*.csv"))
    lines = [line.split("\t") for part in parts for line in part.read_text().splitlines()]
    expected = sorted(counts, key=lambda word: (-counts[word], word))
    assert lines == [[word, str(counts[word]), str(seen[word])] for word in expected]
    assert [item["word"] for item in figures["top"]] == expected[: bagofwords.TOP]


def test_naivebayes_equals_scikit_learn(run: Run, mails: Path, tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    figures = run(naivebayes, "--input", str(mails), "--alpha", "0.5", "--mllib")
    paths = sorted(mails.glob("*/*.txt"))
    tests = [path for path in paths if naivebayes.is_test(str(path))]
    train = [path for path in paths if path not in tests]
    assert (figures["n_train"], figures["n_test"]) == (len(train), len(tests))
    assert tests
    vectorizer = CountVectorizer(token_pattern=r"\w+")
    counts = vectorizer.fit_transform([path.read_text() for path in train])
    model = MultinomialNB(alpha=0.5).fit(counts, [path.parent.name for path in train])
    ours = json.loads((tmp_path / "out" / "model.json").read_text())
    words = vectorizer.get_feature_names_out()
    for index, name in enumerate(model.classes_):
        assert ours[name]["prior"] == pytest.approx(model.class_log_prior_[index])
        found = [ours[name]["words"][word] for word in words]
        np.testing.assert_allclose(found, model.feature_log_prob_[index])
    predicted = model.predict(vectorizer.transform([path.read_text() for path in tests]))
    right = sum(predicted == [path.parent.name for path in tests])
    assert figures["n_correct"] == right
    assert figures["mllib_accuracy"] == pytest.approx(right / len(tests))


def test_generated_documents_are_classified_better_than_by_chance(run: Run) -> None:
    figures = run(naivebayes, "--documents", "200", "--words", "60", "--partitions", "2")
    assert figures["accuracy"] > 0.6
    args = argparse.Namespace(documents=4, words=9, seed=2)
    assert documents.generate(3, args) == documents.generate(3, args)
    assert len(documents.generate(3, args)[1].split()) == 9


def _rows(kind: str, rows: int, features: int) -> tuple[Any, Any]:
    """Return the rows that the job generates, made without Spark."""
    args = argparse.Namespace(rows=rows, features=features, seed=1)
    parts = [blocks.generate(n, args, kind) for n in range(-(-rows // blocks.BLOCK_ROWS))]
    return np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])


def test_linreg_equals_numpy_and_mllib(run: Run) -> None:
    figures = run(linreg, "--rows", "2500", "--features", "4", "--partitions", "3", "--mllib")
    x, y = _rows("regression", 2500, 4)
    design = np.column_stack([np.ones(len(y)), x])
    weights, residuals, *_ = np.linalg.lstsq(design, y)
    np.testing.assert_allclose(figures["weights"], weights, atol=1e-10)
    assert figures["rows"] == 2500
    assert figures["r2"] == pytest.approx(1 - residuals[0] / ((y - y.mean()) ** 2).sum())
    covariance = np.linalg.inv(design.T @ design) * residuals[0] / (2500 - 5)
    np.testing.assert_allclose(figures["standard_errors"], np.sqrt(np.diag(covariance)))
    assert figures["mllib_difference"] < 1e-8


def test_linreg_reads_libsvm_files(run: Run, tmp_path: Path) -> None:
    from sklearn.datasets import dump_svmlight_file

    x, y = _rows("regression", 300, 3)
    dump_svmlight_file(x, y, str(tmp_path / "rows.libsvm"), zero_based=False)
    figures = run(linreg, "--input", str(tmp_path / "rows.libsvm"))
    weights = np.linalg.lstsq(np.column_stack([np.ones(300), x]), y)[0]
    np.testing.assert_allclose(figures["weights"], weights, atol=1e-10)


def test_linreg_of_dependent_columns_is_rejected() -> None:
    z = np.column_stack([np.ones(5), np.arange(5), 2 * np.arange(5), np.arange(5)])
    with pytest.raises(job.JobError, match="5 rows do not determine 3 weights"):
        linreg.solve(z.T @ z)


@pytest.mark.parametrize("batch", ["1", "0.3"])
def test_logreg_takes_the_steps_of_numpy(run: Run, batch: str) -> None:
    size = ("--rows", "2200", "--features", "3", "--partitions", "2")
    figures = run(logreg, *size, "--steps", "3", "--reg", "0.1", "--batch", batch)
    x, y = _rows("classes", 2200, 3)
    design, weights = np.column_stack([x, np.ones(len(y))]), np.zeros(4)
    for step in range(3):
        rows = np.concatenate(
            [
                np.random.default_rng([1, step, n]).random(size) < float(batch)
                for n, size in enumerate((1000, 1000, 200))
            ]
        )
        slope = 1 / (1 + np.exp(-design[rows] @ weights)) - y[rows]
        gradient = design[rows].T @ slope / rows.sum() + 0.1 * weights * [1, 1, 1, 0]
        weights = weights - 2 / np.sqrt(step + 1) * gradient
    np.testing.assert_allclose(figures["weights"], weights, atol=1e-12)
    assert figures["losses"][0] == pytest.approx(np.log(2))
    assert figures["accuracy"] == pytest.approx(((design @ weights > 0) == (y > 0)).mean())


def test_logreg_converges_to_scikit_learn_and_mllib(run: Run) -> None:
    from sklearn.linear_model import LogisticRegression

    size = ("--rows", "1000", "--features", "2", "--partitions", "2")
    figures = run(
        logreg, *size, "--steps", "20", "--rate", "5", "--reg", "0.2", "--mllib", "--persist", "no"
    )
    x, y = _rows("classes", 1000, 2)
    model = LogisticRegression(C=1 / (0.2 * len(y)), tol=1e-8).fit(x, y)
    expected = [*model.coef_[0], *model.intercept_]
    np.testing.assert_allclose(figures["mllib"]["weights"], expected, atol=1e-4)
    np.testing.assert_allclose(figures["weights"], expected, atol=1e-3)
    assert figures["accuracy"] == pytest.approx(model.score(x, y), abs=0.003)


@pytest.mark.parametrize(
    ("level", "calls"),
    [("none", [60, 60, 60, 0]), ("memory", [60, 0, 0, 0]), ("disk", [60, 0, 0, 0])],
)
def test_lineage_counts_calls_of_each_action(
    run: Run, tmp_path: Path, level: str, calls: list[int]
) -> None:
    figures = run(lineage, "--numbers", "60", "--pause-ms", "0", "--persist", level)
    assert [item["calls"] for item in figures["actions"]] == calls
    assert figures["sum"] == sum(n * n for n in range(60))
    assert figures["sums"]["3"] == sum(n * n for n in range(3, 60, 10))
    text = (tmp_path / "out" / "lineage.txt").read_text()
    assert "ShuffledRDD" in text
    assert ("Replicated]" in text) == (level != "none")


@pytest.mark.parametrize("program", [bagofwords, naivebayes, linreg, logreg])
def test_missing_input_is_reported(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], program: Any
) -> None:
    arguments = ["--input", f"{tmp_path}/none", "--output", f"{tmp_path}/out"]
    assert program.main(arguments) == 2
    assert "no such file or folder" in capsys.readouterr().err
