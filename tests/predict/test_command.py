"""`emrctl predict` on event logs and stored runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emrctl.cli.__main__ import main
from tests.predict.logs import LogWriter, one_stage

Predict = Callable[..., tuple[int, str, str]]


@pytest.fixture
def predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Predict:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(["predict", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(one_stage([1.0] * 32).write(tmp_path / "app-1"))


def test_json_has_observed_points_and_notes(predict: Predict, log: str) -> None:
    code, out, _ = predict(log, "--executors", "1..4", "--json")
    document = json.loads(out)
    assert code == 0
    assert list(document) == ["observed", "points", "notes"]
    assert [point["executors"] for point in document["points"]] == [1, 2, 3, 4]
    assert document["points"][3]["predicted_in_job_s"] == pytest.approx(8, rel=0.01)
    assert document["observed"]["error_percent"] == pytest.approx(0, abs=0.1)


def test_points_are_for_each_combination_of_executors_and_cores(predict: Predict, log: str) -> None:
    _, out, _ = predict(log, "--executors", "1,2", "--cores", "1,2", "--json")
    points = json.loads(out)["points"]
    assert [(point["cores"], point["executors"]) for point in points] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]
    assert [point["refused"] is None for point in points] == [True, True, False, False]


def test_table_prints_the_error_at_the_observed_count(predict: Predict, log: str) -> None:
    code, out, _ = predict(log, "--executors", "1,40")
    assert code == 0
    assert "Observed: 1 executors of 1 cores, 32.0 s in jobs" in out
    assert "(error +0.0 %)" in out.replace("-0.0", "+0.0")
    assert "refused: more than 16 times" in out
    assert "Floors: critical path 1.0 s, one core 32.0 s." in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--executors", "0"), "--executors 0"),
        (("--executors", "1", "--cores", "x"), "--cores x"),
    ],
)
def test_invalid_numbers_name_the_flag(
    predict: Predict, log: str, arguments: tuple[str, ...], words: str
) -> None:
    code, _, err = predict(log, *arguments)
    assert code == 2
    assert words in err


def test_log_without_jobs_is_an_error(predict: Predict, tmp_path: Path) -> None:
    writer = LogWriter()
    writer.end(1)
    code, _, err = predict(str(writer.write(tmp_path / "empty")))
    assert code == 3
    assert "no completed job" in err
