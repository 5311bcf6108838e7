"""The features job: feature vectors, unreadable pictures, archives, second runs."""

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from features import extraction
from features.extractors import HogExtractor

pytestmark = pytest.mark.spark


def png(shade: int = 90) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 7), (shade, 10, 10)).save(buffer, "png")
    return buffer.getvalue()


def result(output: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((output / "result.json").read_text())
    return loaded


def run(source: Path, output: Path, *more: str) -> int:
    arguments = ["--input", str(source), "--output", str(output), "--size", "16", *more]
    return extraction.main(arguments)


def paths(output: Path) -> list[str]:
    return sorted(pd.read_parquet(output / "features")["path"])


def test_features_have_a_row_for_every_picture(vectors: Path, digits: Path) -> None:
    table = pd.read_parquet(vectors / "features")
    assert list(table.columns) == ["path", "label", "features"]
    assert sorted(table["path"]) == sorted(path.name for path in digits.iterdir())
    assert set(table["label"]) == {"1", "3", "8"}
    assert all(vector.dtype == np.float32 and vector.shape == (36,) for vector in table["features"])
    one = table[table["path"] == "3_1.png"]["features"].iloc[0]
    hog = HogExtractor(16)
    direct = hog.features(hog.prepare((digits / "3_1.png").read_bytes())[None])[0]
    np.testing.assert_array_equal(one, direct)


def test_result_has_counts_and_extractor(vectors: Path) -> None:
    outcome = result(vectors)
    assert outcome["job"] == "features"
    assert outcome["figures"]["features"] == outcome["figures"]["pictures"] == 120
    assert outcome["figures"]["classes"] == {"1": 40, "3": 40, "8": 40}
    assert outcome["figures"]["dimension"] == 36
    assert outcome["figures"]["extractor"]["name"] == "hog"
    assert outcome["figures"]["extractor"]["size"] == 16
    assert set(outcome["steps_s"]) == {"list", "extract and export", "account"}
    assert not (vectors / "broken").exists()


def test_unreadable_pictures_are_written_to_broken(spark: Any, tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "cat").mkdir(parents=True)
    (source / "cat" / "sleeping.PNG").write_bytes(png())
    (source / "dog_1.png").write_bytes(png())
    (source / "dog_2.jpg").write_text("no picture")
    (source / "dog_3.png").write_bytes(png()[:40])
    (source / "dog_4.png").write_bytes(b"")
    (source / "nameless.png").write_bytes(png())
    (source / "manifest.csv").write_text("not read")
    assert run(source, tmp_path / "out", "--partitions", "3") == 0
    assert paths(tmp_path / "out") == ["cat/sleeping.PNG", "dog_1.png"]
    figures = result(tmp_path / "out")["figures"]
    assert (figures["pictures"], figures["features"], figures["broken"]) == (6, 2, 4)
    parts = (tmp_path / "out" / "broken").glob("*.json")
    lines = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    reasons = {line["path"]: line["reason"] for line in lines}
    assert reasons["dog_2.jpg"] == "UnidentifiedImageError: cannot identify image file"
    assert reasons["dog_4.png"] == "empty file"
    assert reasons["nameless.png"].startswith("no class in its name")
    assert set(reasons) == {"dog_2.jpg", "dog_3.png", "dog_4.png", "nameless.png"}
    assert [row["path"] for row in figures["first_broken"]] == sorted(reasons)


def test_archives_are_read_like_folders(spark: Any, digits: Path, tmp_path: Path) -> None:
    source = tmp_path / "in" / "sub"
    source.mkdir(parents=True)
    with tarfile.open(source / "a.tgz", "w:gz") as archive:
        archive.add(digits / "1_1.png", "1_1.png")
        archive.add(digits / "1_2.png", "more/1_2.png")
        archive.add(digits / "1_3.png", "._1_3.png")
    with zipfile.ZipFile(source / "b.ZIP", "w") as zipped:
        zipped.write(digits / "3_1.png", "3/first.png")
        zipped.writestr("manifest.csv", "not read")
    (source / "c.tar").write_text("no archive")
    (source / "8_1.png").write_bytes((digits / "8_1.png").read_bytes())
    assert run(tmp_path / "in", tmp_path / "out") == 0
    expected = ["sub/1_1.png", "sub/3/first.png", "sub/8_1.png", "sub/more/1_2.png"]
    assert paths(tmp_path / "out") == expected
    figures = result(tmp_path / "out")["figures"]
    assert figures["first_broken"][0]["path"] == "sub/c.tar"
    assert figures["first_broken"][0]["reason"].startswith("archive: ")
    # One archive as the input: paths are relative to its folder.
    assert run(source / "a.tgz", tmp_path / "one") == 0
    assert paths(tmp_path / "one") == ["1_1.png", "more/1_2.png"]


def test_json_format_has_a_file_for_every_picture(
    spark: Any, digits: Path, vectors: Path, tmp_path: Path
) -> None:
    assert run(digits, tmp_path / "out", "--format", "json") == 0
    table = pd.read_parquet(vectors / "features").set_index("path")
    files = sorted((tmp_path / "out" / "features").iterdir())
    assert [path.name for path in files] == [f"{name}.json" for name in sorted(table.index)]
    first = json.loads(files[0].read_text())
    np.testing.assert_array_equal(np.float32(first), table.loc["1_1.png", "features"])


def test_second_run_extracts_missing_pictures_only(spark: Any, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a_1", "a_2", "b_1"):
        (source / f"{name}.png").write_bytes(png())
    (source / "b_2.png").write_text("broken")
    assert run(source, tmp_path / "out") == 0
    parts = {path.name for path in (tmp_path / "out" / "features").glob("*.parquet")}
    (source / "b_2.png").write_bytes(png())
    (source / "c_1.png").write_bytes(png())
    assert run(source, tmp_path / "out") == 0
    assert paths(tmp_path / "out") == ["a_1.png", "a_2.png", "b_1.png", "b_2.png", "c_1.png"]
    figures = result(tmp_path / "out")["figures"]
    assert (figures["features"], figures["kept"], figures["broken"]) == (5, 3, 0)
    assert figures["classes"] == {"a": 2, "b": 2, "c": 1}
    assert figures["dimension"] == 36
    assert parts <= {path.name for path in (tmp_path / "out" / "features").glob("*.parquet")}
    assert run(source, tmp_path / "out") == 0
    assert result(tmp_path / "out")["figures"]["kept"] == 5
    (source / "a_1.png").write_bytes(png(7))  # changed: extract all
    assert run(source, tmp_path / "out") == 0
    assert result(tmp_path / "out")["figures"]["kept"] == 0
    assert run(source, tmp_path / "out", "--anew") == 0
    assert result(tmp_path / "out")["figures"]["kept"] == 0


def test_lost_executor_does_not_change_results(
    run_and_kill_executor: Callable[[str, list[str], str], None],
    digits: Path,
    vectors: Path,
    tmp_path: Path,
) -> None:
    """An executor is killed while it extracts features."""
    (tmp_path / "in").mkdir()
    for path in digits.iterdir():
        shutil.copy(path, tmp_path / "in")
    (tmp_path / "in" / "1_99.png").write_text("broken")
    arguments = ["--input", f"{tmp_path}/in", "--output", f"{tmp_path}/out", "--size", "16"]
    run_and_kill_executor("features.py", [*arguments, "--partitions", "8"], "time of list")
    rerun, complete = (
        pd.read_parquet(path / "features").sort_values("path")
        for path in (tmp_path / "out", vectors)
    )
    assert list(rerun["path"]) == list(complete["path"])
    np.testing.assert_array_equal(np.stack(rerun["features"]), np.stack(complete["features"]))
    figures = result(tmp_path / "out")["figures"]
    assert (figures["pictures"], figures["features"], figures["broken"]) == (121, 120, 1)


def test_metadata_contains_the_extractor(vectors: Path) -> None:
    import pyarrow.parquet as pq

    part = next((vectors / "features").glob("*.parquet"))
    metadata = pq.read_schema(part).metadata[b"org.apache.spark.sql.parquet.row.metadata"]
    column = json.loads(metadata)["fields"][2]
    assert column["metadata"]["extractor"]["name"] == "hog"


def test_second_run_after_removal_extracts_all(spark: Any, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a_1.png").write_bytes(png())
    (source / "b_1.png").write_text("broken")
    assert run(source, tmp_path / "out") == 0
    (source / "b_1.png").write_bytes(png())
    (source / "a_1.png").unlink()
    assert run(source, tmp_path / "out") == 0
    assert paths(tmp_path / "out") == ["b_1.png"]
    assert not (tmp_path / "out" / "broken").exists()


def test_labels_folder_reads_class_from_folder(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "in" / "cat").mkdir(parents=True)
    (tmp_path / "in" / "cat" / "IMG_1.png").write_bytes(png())
    assert run(tmp_path / "in", tmp_path / "out", "--labels", "folder") == 0
    assert result(tmp_path / "out")["figures"]["classes"] == {"cat": 1}


def test_input_without_pictures_is_reported(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "none", tmp_path / "out") == 2
    assert "none: no such file or folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", tmp_path / "out") == 2
    assert "no pictures or archives there" in capsys.readouterr().err
    (tmp_path / "empty" / "a_1.png").write_text("broken")
    assert run(tmp_path / "empty", tmp_path / "out") == 2
    assert "no picture could be read; a_1.png: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "8"], "hog takes 16 to 1024 pixels"),
        (["--size", "big"], "not a whole number"),
        (["--extractor", "vgg"], "invalid choice: 'vgg'"),
        (["--partitions", "0"], "at least 1"),
        (["--format", "json", "--labels", "folder"], "in the file name only"),
    ],
)
def test_invalid_arguments_are_rejected(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        extraction.main(["--input", "in", "--output", "out", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_hog_extractor_accepts_batches() -> None:
    extractor = HogExtractor(16)
    batch = np.stack([extractor.prepare(png(90)), extractor.prepare(png(200))])
    vectors = extractor.features(batch)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == 2
    assert extractor.settings()["name"] == "hog"
