"""`emrctl tune` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.answers import Emrctl


@pytest.fixture
def table(tmp_path: Path) -> str:
    rows = [f"m5.xlarge,{n},{600 / n + 30 * n:.1f},true" for n in range(1, 13)]
    path = tmp_path / "timings.csv"
    path.write_text("\n".join(["type,nodes,seconds,ok", *rows, "c5.xlarge,2,,false"]))
    return str(path)


def test_replay_prints_the_share_of_searches_per_run(typed: Emrctl, table: str) -> None:
    options = ("--time", "seconds", "--features", "type,nodes", "--completed", "ok")
    code, out, _ = typed("tune", "--replay", table, *options, "--runs", "6", "--seeds", "3")
    assert code == 0
    assert "13 configurations; the best is type=m5.xlarge, nodes=4" in out
    assert "search: within" in out
    assert "random: behind" in out


def test_replay_json_has_one_number_per_run(typed: Emrctl, table: str) -> None:
    options = ("--time", "seconds", "--features", "type,nodes", "--goal", "cost", "--json")
    code, out, _ = typed("tune", "--replay", table, *options, "--runs", "4", "--seeds", "2")
    assert code == 0
    document = json.loads(out)
    assert document["best"] == {"type": "m5.xlarge", "nodes": 1}
    assert [len(item["within"]) for item in document["searches"]] == [4, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--goal", "both"), "a replay has one goal"),
        (("--time", "elapsed"), "has no column 'elapsed'"),
        (("--time", "seconds", "--features", "type", "--where", "type"), "expected KEY=VALUE"),
        (("--html", "page.html"), "--html does not apply to --replay"),
        (("--fresh",), "--fresh does not apply to --replay"),
        (("--seeds", "999999999999"), "less than or equal to 10000"),
        (("grid.yaml",), "pass either an experiment or --replay TABLE"),
    ],
)
def test_replay_wrong_options_are_usage_errors(
    typed: Emrctl, table: str, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = typed("tune", "--replay", table, *arguments)
    assert (code, out) == (2, "")
    assert message in err
