"""`emrctl advise` on event logs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cli.answers import Emrctl
from tests.event_logs import RECORDED


def test_advise_prints_changes_reasons_and_lines(typed: Emrctl) -> None:
    code, out, err = typed("advise", str(RECORDED / "gc.ill.zstd"))
    assert code == 0
    assert "spark.driver.memory   512m   768m" in out
    assert "gc (up to 5.0 s, " in out
    assert "\nspark-submit " in out
    assert "--driver-memory 768m" in out
    assert "\nemrctl submit " in out
    assert "no spark-submit line" in err


def test_advise_json_has_changes_remarks_and_lines(typed: Emrctl) -> None:
    code, out, _ = typed("advise", str(RECORDED / "low_overhead.ill.zstd"), "--json")
    document = json.loads(out)
    assert code == 0
    assert [item["setting"] for item in document["changes"]] == ["spark.executor.memoryOverhead"]
    assert document["settings"]["spark.executor.memoryOverhead"] == "384m"
    assert set(document) >= {"remarks", "further", "notes", "spark_submit", "emrctl"}


def test_advise_run_keeps_its_job_and_replaces_its_output(
    typed: Emrctl, standing: str, tmp_path: Path
) -> None:
    jobs = "jobs: {mine: {script: mine.py, args: [--in, a]}}"
    (tmp_path / "emrctl.yaml").write_text(f"project: pets\n{jobs}\n")
    (tmp_path / "mine.py").write_text("print(1)")
    arguments = ("mine", "--output", "{run}/rows", "--n", "2")
    [run] = json.loads(typed("submit", "--executors", "2", "--json", *arguments)[1])
    assert run["commit"] is None
    assert run["arguments"][3].endswith(f"/runs/{run['id']}/rows")
    folder = tmp_path / ".emrctl" / "runs" / run["id"] / "eventlog"
    folder.mkdir()
    shutil.copy(RECORDED / "gc.ill.zstd", folder)
    code, out, _ = typed("advise", "latest")
    assert code == 0
    assert out.endswith(" mine --output '{run}/rows' --n 2\n")


def test_advise_unknown_path_and_run_are_errors(typed: Emrctl, tmp_path: Path) -> None:
    assert typed("advise", "missing/log")[0] == 3
    (tmp_path / "emrctl.yaml").write_text("project: pets\n")
    assert typed("advise", "missing")[0] == 3


def test_metrics_findings_uses_thresholds_of_the_project(typed: Emrctl, tmp_path: Path) -> None:
    log = str(RECORDED / "data_skew.ill.zstd")
    document = json.loads(typed("metrics", log, "--findings", "--json")[1])
    assert "data_skew" in [item["kind"] for item in document["findings"]]
    assert "spill" in document["rules"]["clean"]
    assert "local" in document["rules"]["unchecked"]["idle_executors"]
    (tmp_path / "emrctl.yaml").write_text("project: pets\nfindings: {skew_ratio: 1000}\n")
    document = json.loads(typed("metrics", log, "--findings", "--json")[1])
    assert "data_skew" in document["rules"]["clean"]
