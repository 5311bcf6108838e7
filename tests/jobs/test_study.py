"""The svm job: output files, figures and errors."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import extraction
from svm import feature_files, study

pytestmark = pytest.mark.spark
ROOT = Path(__file__).resolve().parents[2]
FAST = ("--iterations", "5", "--seed", "3")
COLUMNS = [
    "task",
    "positive",
    "negative",
    "share",
    "seed",
    "solver",
    "n_train",
    "n_test",
    "n_correct",
    "accuracy",
    "balanced_accuracy",
    "majority_baseline",
    "iterations_run",
    "train_s",
]
NEW_COLUMNS = ["roc_auc", "f1", "tp", "fn", "fp", "tn"]


def run(source: Path, output: Path, *more: str) -> int:
    return study.main(["--features", str(source), "--output", str(output), *FAST, *more])


def accuracies(output: Path) -> pd.DataFrame:
    return pd.read_parquet(output / "accuracies.parquet")


def result(output: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((output / "result.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def study_output(vectors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train pairs and one-vs-all of three digits at two shares, and keep all models."""
    output = tmp_path_factory.mktemp("study")
    assert run(vectors, output, "--task", "both", "--shares", "0.5,0.2", "--keep", "all") == 0
    return output


class Rows:
    """Features joined with the splits of a study."""

    def __init__(self, vectors: Path, output: Path) -> None:
        table = pd.read_parquet(vectors / "features")
        self.table = table.merge(pd.read_parquet(output / "splits.parquet"), on=["path", "label"])

    def of(self, row: Any) -> tuple[Any, Any, Any]:
        """Return x, y and whether each row trains, for the model of a row of accuracies."""
        table = self.table
        if row.task == "pairs":
            table = table[table["label"].isin([row.positive, row.negative])]
        x = np.stack(list(table["features"])).astype(np.float64)
        return x, (table["label"] == row.positive).to_numpy(), (table["u"] < row.share).to_numpy()


def weights_of(output: Path, row: Any) -> Any:
    folder = output / "models" / f"{row.positive}_VS_{row.negative}"
    return np.load(folder / f"share={row.share:g}" / "weights.npy")


class TestFiles:
    def test_accuracies_have_documented_columns(self, study_output: Path) -> None:
        schema = pq.read_schema(study_output / "accuracies.parquet")
        assert schema.names == COLUMNS + NEW_COLUMNS
        kinds = {name: schema.field(name).type for name in COLUMNS}
        assert {str(kinds[name]) for name in ("share", "accuracy", "train_s")} == {"double"}
        integers = ("seed", "n_train", "n_test", "n_correct", "iterations_run")
        assert {kinds[name] for name in integers} == {pa.int64()}
        assert list(pd.read_csv(study_output / "accuracies.csv").columns) == COLUMNS + NEW_COLUMNS

    def test_accuracies_have_a_row_for_every_model(self, study_output: Path) -> None:
        table = accuracies(study_output)
        assert len(table) == (3 + 3) * 2
        assert set(table["share"]) == {0.2, 0.5}
        assert set(table[table["task"] == "one-vs-all"]["negative"]) == {"all"}
        assert (
            table["n_train"] + table["n_test"] == np.where(table["task"] == "pairs", 80, 120)
        ).all()
        assert (table["iterations_run"] == 5).all()
        assert (table["train_s"] > 0).all()
        assert (table["seed"] == 3).all()
        assert (table["solver"] == "mllib").all()

    def test_splits_have_documented_columns(self, study_output: Path) -> None:
        table = pd.read_parquet(study_output / "splits.parquet")
        assert list(table.columns) == ["path", "label", "seed", "u"]
        assert len(table) == 120

    def test_best_model_is_written_beside_its_shares(self, study_output: Path) -> None:
        for row in accuracies(study_output).itertuples():
            folder = study_output / "models" / f"{row.positive}_VS_{row.negative}"
            meta = json.loads((folder / "meta.json").read_text())
            best = folder / f"share={meta['share']:g}" / "weights.npy"
            assert (folder / "weights.npy").read_bytes() == best.read_bytes()
            assert meta["accuracy"] >= row.accuracy
            settings = meta["settings"]
            assert (settings["iterations"], settings["step"], settings["reg"]) == (5, 1.0, 0.01)
            assert (settings["loss"], settings["scale"]) == ("hinge", "none")

    def test_plot_is_png_and_log_has_step_durations(self, study_output: Path) -> None:
        assert (study_output / "accuracy.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        log = (study_output / "log.txt").read_text()
        for step in ("find", "split", "load", "train", "predict", "export"):
            assert f"time of {step}" in log
        assert "1 VS 3 share=0.2: accuracy" in log

    def test_result_has_step_durations_and_figures(self, study_output: Path) -> None:
        outcome = result(study_output)
        table = accuracies(study_output)
        steps = {"find", "split", "load", "plan", "train", "predict", "export"}
        assert set(outcome["steps_s"]) == steps
        assert outcome["figures"]["models"] == 12
        assert outcome["figures"]["mean_accuracy"] == pytest.approx(table["accuracy"].mean())
        assert outcome["figures"]["best"]["accuracy"] == table["accuracy"].max()
        assert outcome["figures"]["tasks"]["pairs"]["n_correct"] == int(
            table["n_correct"][:6].sum()
        )
        assert outcome["arguments"]["shares"] == [0.2, 0.5]


class TestFigures:
    def test_accuracies_match_the_written_weights(self, vectors: Path, study_output: Path) -> None:
        rows = Rows(vectors, study_output)
        for row in accuracies(study_output).itertuples():
            x, y, trains = rows.of(row)
            right = ((x @ weights_of(study_output, row) > 0) == y)[~trains]
            tested = y[~trains]
            assert row.n_train == trains.sum()
            assert row.n_correct == right.sum()
            assert row.accuracy == right.mean()
            balanced = (right[tested].mean() + right[~tested].mean()) / 2
            assert row.balanced_accuracy == pytest.approx(balanced)
            assert row.majority_baseline == max(tested.sum(), (~tested).sum()) / len(tested)

    def test_weights_equal_mllib(self, spark: Any, vectors: Path, study_output: Path) -> None:
        from pyspark.mllib.classification import SVMWithSGD
        from pyspark.mllib.regression import LabeledPoint

        row = next(accuracies(study_output).itertuples())
        x, y, trains = Rows(vectors, study_output).of(row)
        points = [
            LabeledPoint(float(label), vector)
            for label, vector in zip(y[trains], x[trains], strict=True)
        ]
        model = SVMWithSGD.train(spark.sparkContext.parallelize(points, 3), 5, 1.0, 0.01)
        weights = weights_of(study_output, row)
        assert weights.dtype == np.float64
        np.testing.assert_allclose(weights, model.weights.toArray(), rtol=0, atol=1e-12)

    def test_iterations_run_counts_early_convergence(
        self, spark: Any, vectors: Path, tmp_path: Path
    ) -> None:
        """The step is so small that the first change is below MLlib's tolerance of 0.001."""
        more = ("--task", "pairs", "--classes", "1,3", "--shares", "0.5", "--step", "0.000001")
        assert run(vectors, tmp_path, *more) == 0
        assert list(accuracies(tmp_path)["iterations_run"]) == [2]

    def test_accuracy_on_photographs_exceeds_baseline(
        self, spark: Any, pets: tuple[Path, list[str]], tmp_path: Path
    ) -> None:
        folder, names = pets
        arguments = ["--input", str(folder), "--output", f"{tmp_path}/f", "--size", "64"]
        assert extraction.main(arguments) == 0
        more = ("--task", "pairs", "--shares", "0.7", "--iterations", "30")
        assert run(tmp_path / "f", tmp_path / "s", *more) == 0
        table = accuracies(tmp_path / "s")
        assert {*table["positive"], *table["negative"]} == set(names)
        assert table["accuracy"].mean() > table["majority_baseline"].mean()


class TestInput:
    def test_json_features_give_the_models_of_parquet(
        self, spark: Any, vectors: Path, study_output: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "json"
        folder.mkdir()
        for row in pd.read_parquet(vectors / "features").itertuples():
            values = [float(value) for value in row.features]
            (folder / f"{row.path}.json").write_text(json.dumps(values))
        more = ("--task", "pairs", "--classes", "1,8", "--shares", "0.2,0.5", "--keep", "all")
        assert run(folder, tmp_path / "out", *more) == 0
        reference = accuracies(study_output)
        expected = reference[(reference["positive"] == "1") & (reference["negative"] == "8")]
        for row, other in zip(
            accuracies(tmp_path / "out").itertuples(), expected.itertuples(), strict=True
        ):
            assert (row.n_train, row.n_correct) == (other.n_train, other.n_correct)
            np.testing.assert_allclose(
                weights_of(tmp_path / "out", row),
                weights_of(study_output, other),
                rtol=0,
                atol=1e-12,
            )

    def test_large_files_and_special_characters_give_the_same_models(
        self,
        vectors: Path,
        study_output: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Spark reads large files; a folder name is not a glob pattern."""
        folder = tmp_path / "a,b {1}[x] 100%"
        shutil.copytree(vectors / "features", folder)
        more = ("--task", "pairs", "--classes", "1,8", "--shares", "0.2,0.5", "--keep", "all")
        assert run(folder, tmp_path / "odd", *more) == 0
        monkeypatch.setattr(feature_files, "WHOLE_BYTES", 1)
        assert run(vectors, tmp_path / "large", *more) == 0
        reference = accuracies(study_output)
        expected = reference[(reference["positive"] == "1") & (reference["negative"] == "8")]
        for output in (tmp_path / "odd", tmp_path / "large"):
            for row, other in zip(
                accuracies(output).itertuples(), expected.itertuples(), strict=True
            ):
                np.testing.assert_array_equal(
                    weights_of(output, row), weights_of(study_output, other)
                )

    def test_one_trains_only_the_models_of_the_class(
        self, spark: Any, vectors: Path, study_output: Path, tmp_path: Path
    ) -> None:
        more = ("--task", "both", "--one", "8", "--shares", "0.5", "--keep", "best")
        assert run(vectors, tmp_path, *more, "--partitions", "3") == 0
        folders = sorted(path.name for path in (tmp_path / "models").iterdir())
        assert folders == ["8_VS_1", "8_VS_3", "8_VS_all"]
        assert result(tmp_path)["figures"]["partitions"] == 3
        splits = pd.read_parquet(tmp_path / "splits.parquet")
        assert splits.equals(pd.read_parquet(study_output / "splits.parquet"))

    def test_split_without_rows_is_noted_and_others_are_trained(
        self, spark: Any, tmp_path: Path
    ) -> None:
        rows = []
        for name, values in {"a b:c_1": [1, 0], "a b:c_2": [2, 0], "d_1": [0, 1]}.items():
            rows.append((f"{name}.jpg", name.rpartition("_")[0], [float(x) for x in values]))
        source = tmp_path / "in.parquet"
        pd.DataFrame(rows, columns=["path", "label", "features"]).to_parquet(source)
        # d has one row, at u = 0.5: at share 0.3 it cannot train, at 0.6 it cannot test.
        output = tmp_path / "out"
        assert run(source, output, "--task", "pairs", "--shares", "0.3,0.6") == 0
        notes = [note["note"] for note in result(output)["figures"]["notes"]]
        assert notes == ["not trained: no rows of d to train on", "no rows of d to test on"]
        table = accuracies(output)
        assert table["accuracy"].isna().tolist() == [True, False]
        assert table["balanced_accuracy"].isna().all()
        assert (output / "models" / "a b%3Ac_VS_d" / "weights.npy").exists()

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ({}, "no Parquet and no JSON features there"),
            (
                {"a_1.jpg.json": "[1, 2]", "b_1.jpg.json": "[1, NaN]"},
                "b_1.jpg: no features, or NaN",
            ),
            ({"a_1.jpg.json": "[1, 2]", "b_1.jpg.json": "nothing"}, "b_1.jpg: no features, or NaN"),
            ({"a_1.jpg.json": "[1, 2]", "b_1.jpg.json": "[1]"}, "different lengths: 1 (in b), 2"),
            ({"a_1.jpg.json": "[1]", "b.json": "[1]"}, "b.json: no class in its name"),
            ({"a_1.jpg.json": "[1]"}, "one class alone (a)"),
            ({"a_1.jpg.json": "[1]", "b_1.jpg.json": ""}, "b_1.jpg.json: an empty file"),
        ],
        ids=["empty", "NaN", "no list", "lengths", "no class", "one class", "empty file"],
    )
    def test_invalid_features_are_reported(
        self,
        spark: Any,
        tmp_path: Path,
        files: dict[str, str],
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "in").mkdir()
        for name, text in files.items():
            (tmp_path / "in" / name).write_text(text)
        code = run(tmp_path / "in", tmp_path / "out", "--task", "pairs", "--shares", "0.5")
        assert code == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out" / "result.json").exists()

    def test_invalid_parquet_is_reported(
        self, spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def error_of(table: pd.DataFrame) -> str:
            table.to_parquet(tmp_path / "in.parquet")
            more = ("--task", "pairs", "--shares", "0.5")
            assert run(tmp_path / "in.parquet", tmp_path / "out", *more) == 2
            return capsys.readouterr().err

        twice = pd.DataFrame({"path": ["a", "a"], "label": ["x", "x"], "features": [[1.0], [2.0]]})
        assert "a (x) is repeated" in error_of(twice)
        assert "no column label among path, features" in error_of(twice.drop(columns="label"))
        assert "features are bigint, not a list" in error_of(twice.assign(features=[1, 2]))

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (("--classes", "1,33"), "no class '33' among the 3 there (1, 3, 8); nearest: 3"),
            (("--one", "9"), "no class '9' among the 3 there"),
            (("--classes", "1"), "one class alone (1)"),
        ],
    )
    def test_unknown_classes_are_reported(
        self,
        spark: Any,
        vectors: Path,
        tmp_path: Path,
        more: tuple[str, ...],
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert run(vectors, tmp_path / "out", "--task", "pairs", "--shares", "0.5", *more) == 2
        assert message in capsys.readouterr().err

    def test_missing_path_is_reported(
        self, spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(tmp_path / "no", tmp_path / "out", "--task", "pairs", "--shares", "0.5") == 2
        assert "no such file or folder" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--shares", "0.1,1.0"), "share 1 is not between 0 and 1"),
            (("--shares", "0.1;0.2"), "not a list like 0.1,0.2"),
            (("--shares", "nan"), "share nan is not between 0 and 1"),
            (("--shares", "0.5", "--step", "0"), "0 is not above 0"),
            (("--shares", "0.5", "--reg", "-1"), "is not at least 0"),
            (("--shares", "0.5", "--iterations", "0"), "at least 1"),
            (("--shares", "0.5", "--solver", "magic"), "invalid choice: 'magic'"),
            (("--shares", "0.5", "--average"), "--average: not supported by MLlib"),
            (
                ("--shares", "0.5", "--class-weights", "balanced"),
                "--class-weights: not supported by MLlib",
            ),
            ((), "required: --shares"),
        ],
    )
    def test_invalid_arguments_are_rejected(
        self, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            study.main(["--features", "f", "--output", "o", "--task", "pairs", *arguments])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err


def test_job_runs_with_spark_submit_without_py_files(
    java_home: str, vectors: Path, study_output: Path, tmp_path: Path
) -> None:
    """In another working directory, too: the job sends its packages to the workers."""
    import pyspark

    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    java = ["--driver-java-options", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"]
    conf = ["--master", "local[2]", "--conf", "spark.ui.enabled=false", *java]
    more = ["--task", "pairs", "--classes", "1,8", "--shares", "0.2,0.5", "--keep", "none"]
    arguments = ["--features", str(vectors), "--output", str(tmp_path / "out"), *FAST, *more]
    completed = subprocess.run(
        [str(submit), *conf, str(ROOT / "jobs" / "svm.py"), *arguments],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "JAVA_HOME": java_home,
            "PYSPARK_PYTHON": sys.executable,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-2000:]
    reference = accuracies(study_output)
    expected = reference[(reference["positive"] == "1") & (reference["negative"] == "8")]
    assert list(accuracies(tmp_path / "out")["n_correct"]) == list(expected["n_correct"])
    assert not (tmp_path / "out" / "models").exists()
