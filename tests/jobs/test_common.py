"""jobs/_common.py: labels, files, and what all jobs promise alike."""

import ast
import json
from pathlib import Path
from typing import Any

import _common
import pytest

JOBS = Path(_common.__file__).parent
PROGRAMS = sorted(JOBS.glob("*.py"))


@pytest.mark.parametrize(
    ("path", "source", "label"),
    [
        ("great_pyrenees_12.jpg", "auto", "great_pyrenees"),
        ("deep/down/3_17.png", "auto", "3"),
        ("beagle/front.jpg", "auto", "beagle"),
        ("a/beagle/front.jpg", "auto", "beagle"),
        ("beagle/IMG_0001.jpg", "auto", "IMG"),
        ("beagle/IMG_0001.jpg", "folder", "beagle"),
        ("beagle/front.jpg", "name", None),
        ("front.jpg", "auto", None),
        ("3_17.png", "folder", None),
        ("no_ending_7", "auto", "no_ending"),
        ("_7.png", "auto", None),
    ],
)
def test_the_class_of_a_picture(path: str, source: str, label: str | None) -> None:
    assert _common.label_of(path, source) == label


def test_the_nearest_name_is_offered_only_when_one_is_near() -> None:
    assert _common.nearest("beagel", ["beagle", "pug"]) == "; nearest: beagle"
    assert _common.nearest("zebra", ["beagle", "pug"]) == ""


def test_paths_are_told_from_the_datas_folder() -> None:
    assert _common.relative("s3://b/data", "s3://b/data/x/1.png") == "x/1.png"
    assert _common.relative("s3://b/data/", "s3://b/data/1.png") == "1.png"
    assert _common.relative("file:/d/all.tar", "file:/d/all.tar") == "all.tar"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_a_job_is_python_3_9_and_imports_nothing_of_emrctl(program: Path) -> None:
    tree = ast.parse(program.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Match)
        names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.split(".")[0] in ("emrctl", "stacks")]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_a_job_sets_no_spark_settings(program: Path) -> None:
    text = program.read_text()
    assert ".config(" not in text
    assert "conf.set" not in text
    assert "setMaster" not in text


def test_a_missing_module_is_named_with_its_package() -> None:
    with pytest.raises(_common.JobError, match="lacks nowhere_at_all"):
        _common.require("json", "nowhere_at_all")


@pytest.mark.spark
class TestFiles:
    def test_bytes_come_back_and_no_checksum_file_is_left(self, spark: Any, tmp_path: Path) -> None:
        files = _common.Files(spark)
        place = f"{tmp_path}/deep er/ä.bin"
        content = bytes(range(256))
        files.write(place, content)
        assert files.read(place) == content
        assert [path.name for path in (tmp_path / "deep er").iterdir()] == ["ä.bin"]

    def test_a_file_system_that_is_not_local_goes_through_hadoop(
        self, spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = _common.Files(spark)
        monkeypatch.setattr(files, "_local", lambda _: None)
        files.write(f"{tmp_path}/a/b.bin", b"\x00\xffhello")
        assert (tmp_path / "a" / "b.bin").read_bytes() == b"\x00\xffhello"
        assert files.exists(f"{tmp_path}/a/b.bin")
        files.delete(f"{tmp_path}/a")
        assert not files.exists(f"{tmp_path}/a")

    def test_hidden_files_are_not_listed(self, spark: Any, tmp_path: Path) -> None:
        for name in ("a.png", "_SUCCESS", ".b.png", "_temporary/c.png", "in/d.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        files = _common.Files(spark)
        base = files.qualified(str(tmp_path))
        found = sorted(_common.relative(base, name) for name, _ in files.listed(str(tmp_path)))
        assert found == ["a.png", "in/d.png"]

    def test_partitions_are_asked_for_or_the_clusters(self, spark: Any) -> None:
        assert _common.partitions(spark, 7) == 7
        assert _common.partitions(spark, None) == spark.sparkContext.defaultParallelism


@pytest.mark.spark
class TestWordcount:
    def test_it_counts(self, spark: Any, tmp_path: Path) -> None:
        import wordcount

        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.txt").write_text("To be, or not to be\n")
        (tmp_path / "in" / "b.txt").write_text("that is the question: to be!\n")
        arguments = ["--input", f"{tmp_path}/in", "--output", f"{tmp_path}/out"]
        assert wordcount.main([*arguments, "--partitions", "3"]) == 0
        result = json.loads((tmp_path / "out" / "result.json").read_text())
        assert result["figures"]["words"] == 12
        assert result["figures"]["distinct"] == 8
        assert result["figures"]["top"][0] == {"word": "be", "count": 3}
        assert result["arguments"]["partitions"] == 3
        assert set(result["steps_s"]) == {"count", "export"}
        parts = sorted((tmp_path / "out" / "counts").glob("part-*.csv"))
        lines = "".join(part.read_text() for part in parts).splitlines()
        assert lines[:2] == ["be\t3", "to\t3"]

    def test_no_input_is_told(
        self, spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import wordcount

        code = wordcount.main(["--input", f"{tmp_path}/none", "--output", f"{tmp_path}/out"])
        assert code == 2
        assert "no such file or folder" in capsys.readouterr().err
