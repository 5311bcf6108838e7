"""The datacheck job, against pandas."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datacheck
from common.job import JobError
from tests.jobs.conftest import Run

RULES: dict[str, Any] = {
    "rows": 400,
    "columns": {
        "id": {"type": "bigint", "nullable": False, "unique": True},
        "rating": {"type": "double", "min": 0, "max": 5},
        "kind": {"in": ["a", "b"]},
        "mail": {"pattern": "[^@]+@[^@]+"},
    },
}


@pytest.fixture
def frame() -> pd.DataFrame:
    """500 rows; some break the rules."""
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "id": rng.integers(0, 5000, 500),
            "rating": rng.normal(2.5, 1.5, 500),
            "kind": rng.choice(np.array(["a", "b", "c", None]), 500),
            "mail": rng.choice(np.array(["x@y", "none", "a@b@c", None]), 500),
        }
    )


def _arguments(folder: Path, rules: Any, data: str, format_: str = "parquet") -> list[str]:
    (folder / "rules.json").write_text(json.dumps(rules))
    return ["--input", data, "--rules", f"{folder}/rules.json", "--format", format_]


def _broken(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out/result.json").read_text())["figures"][
        "broken"
    ]
    return found


@pytest.mark.spark
def test_datacheck_counts_the_rows_that_break_each_rule(
    spark: Any, tmp_path: Path, frame: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    frame.to_parquet(tmp_path / "data.parquet")
    arguments = _arguments(tmp_path, RULES, f"{tmp_path}/data.parquet")
    assert datacheck.main([*arguments, "--output", f"{tmp_path}/out"]) == 2
    below, above = frame["rating"] < 0, frame["rating"] > 5
    other = ~frame["kind"].isin(["a", "b"]) & frame["kind"].notna()
    wrong = frame["mail"].isin(["none", "a@b@c"])
    assert _broken(tmp_path) == {
        "id: unique": 500 - frame["id"].nunique(),
        "rating: min 0": below.sum(),
        "rating: max 5": above.sum(),
        "kind: in ['a', 'b']": other.sum(),
        "mail: pattern [^@]+@[^@]+": wrong.sum(),
    }
    error = capsys.readouterr().err
    assert f"datacheck: error: rating: min 0 ({below.sum()}); rating: max 5" in error
    lines = pd.concat(
        pd.read_json(path, lines=True) for path in tmp_path.glob("out/rejected/*.json")
    )
    rejected = frame[below | above | other | wrong]
    assert len(lines) == min(100, len(rejected))
    assert set(lines["id"]) <= set(rejected["id"])


@pytest.mark.spark
def test_datacheck_passes_good_data(run: Run, tmp_path: Path, frame: pd.DataFrame) -> None:
    good = frame[frame["rating"].between(0, 5)].drop_duplicates("id").fillna({"mail": "x@y"})
    good = good[(good["kind"] != "c") & (good["mail"] == "x@y")]
    good.to_parquet(tmp_path / "data.parquet")
    rules = {**RULES, "rows": len(good)}
    figures = run(datacheck, *_arguments(tmp_path, rules, f"{tmp_path}/data.parquet"))
    assert figures == {"columns": 4, "broken": {}, "rows": len(good)}
    assert not (tmp_path / "out/rejected").exists()


@pytest.mark.spark
def test_datacheck_reads_csv_with_the_types_of_the_rules(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("id,rating\n1,2.5\n2,many\n3,\n,4\n")
    columns = {"id": {"type": "int", "nullable": False}, "rating": {"type": "double", "min": 3}}
    arguments = _arguments(tmp_path, {"rows": 5, "columns": columns}, f"{tmp_path}/data.csv", "csv")
    assert datacheck.main([*arguments, "--output", f"{tmp_path}/out"]) == 2
    assert _broken(tmp_path) == {
        "type": 1,
        "id: nullable": 1,
        "rating: min 3": 1,
        "rows: at least 5": 4,
    }


@pytest.mark.spark
def test_datacheck_with_inline_rules_reports_other_schema(spark: Any, tmp_path: Path) -> None:
    pd.DataFrame({"id": ["1"], "rating": [1.0]}).to_parquet(tmp_path / "data.parquet")
    arguments = ["--input", f"{tmp_path}/data.parquet", "--rules", json.dumps(RULES)]
    assert datacheck.main([*arguments, "--output", f"{tmp_path}/out"]) == 2
    assert _broken(tmp_path) == {
        "id: type bigint": "string",
        "kind: type any": "no such column",
        "mail: type any": "no such column",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not an object with columns"),
        ("{", "not an object with columns"),
        ('{"columns": {"a": 1}}', "not an object with columns"),
        ('{"columns": {"a": {"least": 1}}}', "no check is called least"),
    ],
)
def test_parse_rejects_rules_of_another_form(text: str, message: str) -> None:
    with pytest.raises(JobError, match=message):
        datacheck.parse(text.encode())
