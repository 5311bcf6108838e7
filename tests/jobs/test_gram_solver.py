"""Solver `gram`: equality with MLlib, strategies, extensions; McNemar's test; the report."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from svm import study

pytestmark = pytest.mark.spark
BOTH = ("--task", "both", "--shares", "0.5,0.2")
RunAndKill = Callable[[str, list[str], str], None]
FAST = ("--iterations", "5", "--seed", "3")


def run(source: Path, output: Path, *more: str) -> int:
    return study.main(["--features", str(source), "--output", str(output), *more])


def accuracies(output: Path) -> pd.DataFrame:
    return pd.read_parquet(output / "accuracies.parquet")


def weights(output: Path) -> dict[str, Any]:
    """Return the weights of every written model by path, sorted by path."""
    folder = output / "models"
    paths = sorted(folder.rglob("share=*/weights.npy"))
    return {str(path.relative_to(folder)): np.load(path) for path in paths}


def max_difference(one: Path, other: Path) -> float:
    """Return the largest difference between the weights of two studies."""
    left, right = weights(one), weights(other)
    assert list(left) == list(right)
    assert left
    return max(float(np.abs(left[name] - right[name]).max()) for name in left)


def assert_same_accuracies(one: Path, other: Path) -> None:
    """Compare all columns except solver and training time."""
    left, right = (accuracies(path).drop(columns=["solver", "train_s"]) for path in (one, other))
    pd.testing.assert_frame_equal(left, right, check_exact=False, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def by_mllib(vectors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("mllib")
    more = ("--keep", "all", "--predictions", "--solver", "mllib")
    assert run(vectors, output, *BOTH, *FAST, *more) == 0
    return output


@pytest.fixture(scope="module")
def by_gram(vectors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("gram")
    more = ("--keep", "all", "--predictions", "--solver", "gram")
    assert run(vectors, output, *BOTH, *FAST, *more) == 0
    return output


def test_models_and_figures_equal_mllib(by_mllib: Path, by_gram: Path) -> None:
    assert max_difference(by_mllib, by_gram) < 1e-12
    assert_same_accuracies(by_mllib, by_gram)
    for name in ("multiclass", "confusion"):
        left, right = (pd.read_parquet(path / f"{name}.parquet") for path in (by_mllib, by_gram))
        pd.testing.assert_frame_equal(
            left.drop(columns="solver", errors="ignore"),
            right.drop(columns="solver", errors="ignore"),
        )


@pytest.mark.parametrize(
    ("rows", "dimension", "more"),
    [
        ((9, 14), 5, ("--step", "1.0", "--reg", "0.01", "--iterations", "12")),
        ((20, 11), 60, ("--step", "0.1", "--reg", "5", "--iterations", "60")),
        ((15, 15), 30, ("--step", "3", "--reg", "0", "--iterations", "8", "--scale", "columns")),
        ((12, 9), 8, ("--loss", "logistic", "--reg", "0.8", "--iterations", "60")),
    ],
    ids=["few", "early end", "columns", "logistic"],
)
def test_random_rows_and_settings_equal_mllib(
    spark: Any, tmp_path: Path, rows: tuple[int, int], dimension: int, more: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(sum(rows))
    labels = ["cat"] * rows[0] + ["dog"] * rows[1]
    x = np.maximum(rng.standard_normal((len(labels), dimension)), 0) * 0.3
    x[: rows[0]] += 0.2
    paths = [f"{n}.jpg" for n in range(len(labels))]
    table = pd.DataFrame({"path": paths, "label": labels, "features": list(x)})
    table.to_parquet(tmp_path / "in.parquet")
    arguments = ("--task", "pairs", "--shares", "0.4,0.8", "--keep", "all", *more)
    for solver in ("mllib", "gram"):
        output = tmp_path / solver
        assert run(tmp_path / "in.parquet", output, *arguments, "--solver", solver) == 0
    assert max_difference(tmp_path / "mllib", tmp_path / "gram") < 1e-9
    assert_same_accuracies(tmp_path / "mllib", tmp_path / "gram")
    if "60" in more:
        assert accuracies(tmp_path / "gram")["iterations_run"].max() < 60


def test_memory_changes_the_strategy_not_the_models(vectors: Path, tmp_path: Path) -> None:
    """With 1 MB for Python: small tiles, and distributed one-vs-all."""
    tight = ("--python-memory-mb", "1", "--keep", "all", "--solver", "gram")
    many = tmp_path / "many.parquet"
    table = pd.read_parquet(vectors / "features")
    wide = [np.tile(row, 60) for row in table["features"]]  # 120 x 2160 numbers: beyond 1 MB
    table.assign(features=wide).to_parquet(many)
    assert run(many, tmp_path / "wide", *BOTH, *FAST, *tight[2:]) == 0
    assert run(many, tmp_path / "tight", *BOTH, *FAST, *tight) == 0
    log = (tmp_path / "tight" / "log.txt").read_text()
    assert "one-vs-all: distributed" in log
    assert "one-vs-all: gram" in (tmp_path / "wide" / "log.txt").read_text()
    assert "pairs: 6 tiles" in log
    assert max_difference(tmp_path / "wide", tmp_path / "tight") < 1e-9
    assert_same_accuracies(tmp_path / "wide", tmp_path / "tight")


def test_few_iterations_use_the_primal(vectors: Path, tmp_path: Path) -> None:
    arguments = ("--task", "one-vs-all", "--shares", "0.5", "--iterations", "2", "--keep", "all")
    for solver in ("mllib", "gram"):
        assert run(vectors, tmp_path / solver, *arguments, "--solver", solver) == 0
    assert "one-vs-all: primal" in (tmp_path / "gram" / "log.txt").read_text()
    assert max_difference(tmp_path / "mllib", tmp_path / "gram") < 1e-12
    assert_same_accuracies(tmp_path / "mllib", tmp_path / "gram")


def test_one_writes_best_models_of_the_class_only(
    vectors: Path, by_gram: Path, tmp_path: Path
) -> None:
    more = ("--task", "both", "--one", "8", "--shares", "0.5,0.2", "--solver", "gram")
    assert run(vectors, tmp_path, *FAST, *more) == 0
    folders = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert folders == ["8_VS_1", "8_VS_3", "8_VS_all"]
    reference = weights(by_gram)
    for name, kept in weights(tmp_path).items():
        assert kept.dtype == np.float64
        sign = 1 if name in reference else -1  # 8 against 1 has the negated weights of 1 against 8
        other = (
            name if name in reference else "_VS_".join(reversed(name.split("/")[0].split("_VS_")))
        )
        other = other if name in reference else f"{other}/{name.partition('/')[2]}"
        np.testing.assert_allclose(kept, sign * reference[other], atol=1e-12)
    assert "not all models of all classes" in (tmp_path / "log.txt").read_text()


def test_extensions_beyond_mllib(vectors: Path, by_gram: Path, tmp_path: Path) -> None:
    ones = ("--task", "one-vs-all", "--shares", "0.5", "--solver", "gram", *FAST)
    options = {
        "balanced": ("--class-weights", "balanced"),
        "averaged": ("--average",),
        "rows": ("--scale", "rows"),
        "float32": ("--precision", "float32"),
    }
    for name, more in options.items():
        assert run(vectors, tmp_path / name, *ones, *more) == 0
    plain = accuracies(by_gram)
    plain = plain[(plain["task"] == "one-vs-all") & (plain["share"] == 0.5)]
    balanced = accuracies(tmp_path / "balanced")
    assert balanced["balanced_accuracy"].mean() > plain["balanced_accuracy"].mean()
    result = json.loads((tmp_path / "float32" / "result.json").read_text())
    assert result["arguments"]["precision"] == "float32"
    assert list(accuracies(tmp_path / "float32")["n_test"]) == list(plain["n_test"])


def test_against_compares_two_runs_by_mcnemar(
    vectors: Path, by_gram: Path, by_mllib: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--solver", "gram", "--seed", "3", "--iterations", "40", "--against")
    assert run(vectors, tmp_path, *BOTH, *more, str(by_gram)) == 0
    table = pd.read_parquet(tmp_path / "mcnemar.parquet")
    assert len(table) == 12
    keys = ["task", "positive", "negative", "share"]
    table = table.sort_values(keys)
    accuracy, reference = (accuracies(path).sort_values(keys) for path in (tmp_path, by_gram))
    assert list(table["n_correct"]) == list(accuracy["n_correct"])
    assert list(table["n_correct_against"]) == list(reference["n_correct"])
    gained = (table["only_this"] - table["only_against"]).to_numpy()
    assert (gained == accuracy["n_correct"].to_numpy() - reference["n_correct"].to_numpy()).all()
    assert table["p"].between(0, 1).all()
    assert "McNemar: " in (tmp_path / "log.txt").read_text()
    for path in (by_mllib, by_gram):
        assert len(pd.read_parquet(path / "predictions")) == 12
    assert run(vectors, tmp_path / "x", *BOTH, "--seed", "4", "--against", str(by_gram)) == 2
    assert "rows, classes or seed differ" in capsys.readouterr().err
    assert run(vectors, tmp_path / "x", *BOTH, "--against", str(vectors)) == 2
    assert "not the --output of a run with --predictions" in capsys.readouterr().err


def test_report_and_plots(by_gram: Path) -> None:
    for name in ("accuracy.png", "heatmap.png"):
        assert (by_gram / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page = (by_gram / "report.html").read_text()
    for part in (
        "<svg",
        "Accuracy among all classes",
        "Accuracy of each pair",
        "The hardest pairs",
    ):
        assert part in page
    assert "http" not in page
    rows = accuracies(by_gram)
    pairs = rows[rows["task"] == "pairs"]
    best = pairs.sort_values(["accuracy", "share"], ascending=[False, True])
    hard = best.groupby(["positive", "negative"]).head(1).sort_values("accuracy").iloc[0]
    title = f"{hard.positive} VS {hard.negative}: {hard.accuracy:.4f}"
    counts = re.findall(r"<p>(\d+) of (\w+) misclassified", page.partition(title)[2])[:2]
    assert [label for _, label in counts] == [hard.positive, hard.negative]
    assert sum(int(number) for number, _ in counts) == hard.n_test - hard.n_correct


def test_lost_executor_does_not_change_results(
    run_and_kill_executor: RunAndKill, vectors: Path, by_gram: Path, tmp_path: Path
) -> None:
    """An executor is killed when training starts."""
    more = (*BOTH, "--seed", "3", "--iterations", "5", "--keep", "all", "--solver", "gram")
    arguments = ["--features", str(vectors), "--output", str(tmp_path / "out"), *more]
    run_and_kill_executor("svm.py", arguments, "tiles of K")
    assert max_difference(by_gram, tmp_path / "out") < 1e-12
    assert_same_accuracies(by_gram, tmp_path / "out")
