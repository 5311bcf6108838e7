"""The wordcount job."""

import json
from pathlib import Path
from typing import Any

import pytest

import wordcount

pytestmark = pytest.mark.spark


def test_wordcount_counts_words(spark: Any, tmp_path: Path) -> None:
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


def test_wordcount_without_input_is_reported(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = wordcount.main(["--input", f"{tmp_path}/none", "--output", f"{tmp_path}/out"])
    assert code == 2
    assert "no such file or folder" in capsys.readouterr().err
