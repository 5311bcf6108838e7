"""Class labels, relative paths, and files on Hadoop file systems."""

from pathlib import Path
from typing import Any

import pytest

from common.files import HadoopFiles, label_of, relative


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
def test_label_of_path(path: str, source: str, label: str | None) -> None:
    assert label_of(path, source) == label


def test_relative_to_folder_or_file() -> None:
    assert relative("s3://b/data", "s3://b/data/x/1.png") == "x/1.png"
    assert relative("s3://b/data/", "s3://b/data/1.png") == "1.png"
    assert relative("file:/d/all.tar", "file:/d/all.tar") == "all.tar"


@pytest.mark.spark
class TestHadoopFiles:
    def test_local_write_leaves_no_checksum_file(self, spark: Any, tmp_path: Path) -> None:
        files = HadoopFiles(spark)
        path = f"{tmp_path}/deep er/ä.bin"
        content = bytes(range(256))
        files.write(path, content)
        assert files.read(path) == content
        assert [path.name for path in (tmp_path / "deep er").iterdir()] == ["ä.bin"]

    def test_write_to_other_file_systems_uses_hadoop(
        self, spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = HadoopFiles(spark)
        monkeypatch.setattr(files, "_local", lambda _: None)
        files.write(f"{tmp_path}/a/b.bin", b"\x00\xffhello")
        assert (tmp_path / "a" / "b.bin").read_bytes() == b"\x00\xffhello"
        assert files.exists(f"{tmp_path}/a/b.bin")
        files.delete(f"{tmp_path}/a")
        assert not files.exists(f"{tmp_path}/a")

    def test_list_files_skips_hidden_files(self, spark: Any, tmp_path: Path) -> None:
        for name in ("a.png", "_SUCCESS", ".b.png", "_temporary/c.png", "in/d.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        files = HadoopFiles(spark)
        base = files.qualified(str(tmp_path))
        names = sorted(relative(base, name) for name, _ in files.list_files(str(tmp_path)))
        assert names == ["a.png", "in/d.png"]
