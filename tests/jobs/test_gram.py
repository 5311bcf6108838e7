"""Solver `gram`: MLlib's models whichever way they are made, and what can be asked beyond them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import svm

pytestmark = pytest.mark.spark
BOTH = ("--task", "both", "--shares", "0.5,0.2")
Losing = Callable[[str, list[str], str], None]
FAST = ("--iterations", "5", "--seed", "3")


def run(source: Path, output: Path, *more: str) -> int:
    return svm.main(["--features", str(source), "--output", str(output), *more])


def accuracies(output: Path) -> pd.DataFrame:
    return pd.read_parquet(output / "accuracies.parquet")


def weights(output: Path) -> dict[str, Any]:
    """Every model that was kept by its place, in the order of the places."""
    folder = output / "models"
    found = sorted(folder.rglob("share=*/weights.npy"))
    return {str(path.relative_to(folder)): np.load(path) for path in found}


def apart(one: Path, other: Path) -> float:
    """The largest difference between the weights of two studies."""
    left, right = weights(one), weights(other)
    assert list(left) == list(right)
    assert left
    return max(float(np.abs(left[name] - right[name]).max()) for name in left)


def same_answers(one: Path, other: Path) -> None:
    """Every figure but the solver's name and its time."""
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


def test_the_models_and_figures_are_mllibs(by_mllib: Path, by_gram: Path) -> None:
    assert apart(by_mllib, by_gram) < 1e-12
    same_answers(by_mllib, by_gram)
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
def test_random_rows_and_settings(
    spark: Any, tmp_path: Path, rows: tuple[int, int], dimension: int, more: tuple[str, ...]
) -> None:
    made = np.random.default_rng(sum(rows))
    labels = ["cat"] * rows[0] + ["dog"] * rows[1]
    x = np.maximum(made.standard_normal((len(labels), dimension)), 0) * 0.3
    x[: rows[0]] += 0.2
    paths = [f"{n}.jpg" for n in range(len(labels))]
    table = pd.DataFrame({"path": paths, "label": labels, "features": list(x)})
    table.to_parquet(tmp_path / "in.parquet")
    asked = ("--task", "pairs", "--shares", "0.4,0.8", "--keep", "all", *more)
    for solver in ("mllib", "gram"):
        output = tmp_path / solver
        assert run(tmp_path / "in.parquet", output, *asked, "--solver", solver) == 0
    assert apart(tmp_path / "mllib", tmp_path / "gram") < 1e-9
    same_answers(tmp_path / "mllib", tmp_path / "gram")
    if "60" in more:
        assert accuracies(tmp_path / "gram")["iterations_run"].max() < 60


def test_memory_changes_the_way_and_not_the_models(vectors: Path, tmp_path: Path) -> None:
    """With 1 MB for Python: small tiles, and one-vs-all step by step over the blocks."""
    tight = ("--python-memory-mb", "1", "--keep", "all", "--solver", "gram")
    many = tmp_path / "many.parquet"
    table = pd.read_parquet(vectors / "features")
    wide = [np.tile(row, 60) for row in table["features"]]  # 120 x 2160 numbers: beyond 1 MB
    table.assign(features=wide).to_parquet(many)
    assert run(many, tmp_path / "wide", *BOTH, *FAST, *tight[2:]) == 0
    assert run(many, tmp_path / "tight", *BOTH, *FAST, *tight) == 0
    log = (tmp_path / "tight" / "log.txt").read_text()
    assert "one-vs-all: spread" in log
    assert "one-vs-all: span" in (tmp_path / "wide" / "log.txt").read_text()
    assert "pairs: 6 tiles" in log
    assert apart(tmp_path / "wide", tmp_path / "tight") < 1e-9
    same_answers(tmp_path / "wide", tmp_path / "tight")


def test_few_steps_are_made_on_the_weights_themselves(vectors: Path, tmp_path: Path) -> None:
    asked = ("--task", "one-vs-all", "--shares", "0.5", "--iterations", "2", "--keep", "all")
    for solver in ("mllib", "gram"):
        assert run(vectors, tmp_path / solver, *asked, "--solver", solver) == 0
    assert "one-vs-all: primal" in (tmp_path / "gram" / "log.txt").read_text()
    assert apart(tmp_path / "mllib", tmp_path / "gram") < 1e-12
    same_answers(tmp_path / "mllib", tmp_path / "gram")


def test_one_class_and_best_models_only(vectors: Path, by_gram: Path, tmp_path: Path) -> None:
    more = ("--task", "both", "--one", "8", "--shares", "0.5,0.2", "--solver", "gram")
    assert run(vectors, tmp_path, *FAST, *more) == 0
    folders = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert folders == ["8_VS_1", "8_VS_3", "8_VS_all"]
    whole = weights(by_gram)
    for name, kept in weights(tmp_path).items():
        assert kept.dtype == np.float64
        sign = 1 if name in whole else -1  # 8 against 1 is 1 against 8 turned round
        other = name if name in whole else "_VS_".join(reversed(name.split("/")[0].split("_VS_")))
        other = other if name in whole else f"{other}/{name.partition('/')[2]}"
        np.testing.assert_allclose(kept, sign * whole[other], atol=1e-12)
    assert "not all models of all classes" in (tmp_path / "log.txt").read_text()


def test_better_models_can_be_asked_for(vectors: Path, by_gram: Path, tmp_path: Path) -> None:
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
    told = json.loads((tmp_path / "float32" / "result.json").read_text())
    assert told["arguments"]["precision"] == "float32"
    assert list(accuracies(tmp_path / "float32")["n_test"]) == list(plain["n_test"])


def test_mcnemar_between_two_runs(
    vectors: Path, by_gram: Path, by_mllib: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--solver", "gram", "--seed", "3", "--iterations", "40", "--against")
    assert run(vectors, tmp_path, *BOTH, *more, str(by_gram)) == 0
    table = pd.read_parquet(tmp_path / "mcnemar.parquet")
    assert len(table) == 12
    keys = ["task", "positive", "negative", "share"]
    table = table.sort_values(keys)
    mine, theirs = (accuracies(path).sort_values(keys) for path in (tmp_path, by_gram))
    assert list(table["n_correct"]) == list(mine["n_correct"])
    assert list(table["n_correct_against"]) == list(theirs["n_correct"])
    gained = (table["only_this"] - table["only_against"]).to_numpy()
    assert (gained == mine["n_correct"].to_numpy() - theirs["n_correct"].to_numpy()).all()
    assert table["p"].between(0, 1).all()
    assert "McNemar: " in (tmp_path / "log.txt").read_text()
    for n in ("mllib", "gram"):  # the same models: nothing is apart
        path = {"mllib": by_mllib, "gram": by_gram}[n]
        says = pd.read_parquet(path / "predictions").sort_values(["positive", "negative", "share"])
        assert len(says) == 12
    assert run(vectors, tmp_path / "x", *BOTH, "--seed", "4", "--against", str(by_gram)) == 2
    assert "other rows, classes or seed" in capsys.readouterr().err
    assert run(vectors, tmp_path / "x", *BOTH, "--against", str(vectors)) == 2
    assert "not the --output of a run with --predictions" in capsys.readouterr().err


def test_the_page_and_the_pictures(by_gram: Path) -> None:
    for name in ("accuracy.png", "heatmap.png"):
        assert (by_gram / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page = (by_gram / "report.html").read_text()
    for part in ("<svg", "Which of all classes", "Accuracy of each pair", "The hardest pairs"):
        assert part in page
    assert "http" not in page
    rows = accuracies(by_gram)
    pairs = rows[rows["task"] == "pairs"]
    best = pairs.sort_values(["accuracy", "share"], ascending=[False, True])
    hard = best.groupby(["positive", "negative"]).head(1).sort_values("accuracy").iloc[0]
    title = f"{hard.positive} VS {hard.negative}: {hard.accuracy:.4f}"
    told = re.findall(r"<p>(\d+) of (\w+) told wrong", page.partition(title)[2])[:2]
    assert [label for _, label in told] == [hard.positive, hard.negative]
    assert sum(int(number) for number, _ in told) == hard.n_test - hard.n_correct


def test_an_executor_lost_on_the_way_changes_nothing(
    losing: Losing, vectors: Path, by_gram: Path, tmp_path: Path
) -> None:
    """One is killed as soon as training has begun."""
    more = (*BOTH, "--seed", "3", "--iterations", "5", "--keep", "all", "--solver", "gram")
    asked = ["--features", str(vectors), "--output", str(tmp_path / "out"), *more]
    losing("svm.py", asked, "tiles of K")
    assert apart(by_gram, tmp_path / "out") < 1e-12
    same_answers(by_gram, tmp_path / "out")
