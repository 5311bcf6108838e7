from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from emrctl.compare import diagnoses, explain, gallery, page, stages
from emrctl.compare.comparison import compare
from emrctl.compare.records import RunRecord
from tests.compare import comparisons
from tests.compare.stage_runs import run, stage


def test_to_json_is_strict_json_with_stages_scaling_and_findings() -> None:
    document = explain.to_json(comparisons.scaled(), every=False)
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == json.loads(json.dumps(document))
    assert [item["configuration"] for item in document["stages"]] == ["2 executors", "4 executors"]
    first = document["stages"][0]
    assert first["changes"][0]["name"] == "collect at job.py:3"
    assert first["total_s"][0] > first["total_s"][1]
    assert [fit["law"] for fit in document["scaling"]["fits"]] == ["Amdahl", "Gustafson"]


def test_to_json_of_many_configurations_is_empty_unless_requested() -> None:
    runs = [comparisons.record(n, 0) for n in range(1, 9)]
    assert explain.to_json(compare(runs), every=False) == {
        "stages": [],
        "scaling": None,
        "findings": [],
    }
    assert len(explain.to_json(compare(runs), every=True)["stages"]) == 7


def test_stage_rows_end_with_other_stages_and_the_driver() -> None:
    one = run(stage(0, 0, 10), stage(1, 10, 20), end_s=30)
    two = run(stage(5, 0, 30, "stage a"), stage(6, 30, 41, "stage b"), stage(7, 41, 42), end_s=45)
    runs = [
        RunRecord(id=str(n), settings={"x": n}, metrics=metrics)
        for n, metrics in enumerate((one, two))
    ]
    [(n, compared)] = compare(runs).stages
    rows = explain.stage_rows(compared, 1)
    assert n == 1
    assert rows[0][:4] == ["stage a (stages 0 and 5)", "10.0 s", "30.0 s", "+20.0 s"]
    assert rows[1] == ["2 other stages", "", "", "+2.0 s", ""]
    assert rows[2][:4] == ["driver, no stage running", "10.0 s", "3.0 s", "\N{MINUS SIGN}7.0 s"]
    every = explain.stage_rows(compared)
    assert "stage h (stage 7, not in the reference)" in [row[0] for row in every]


def test_stages_ignores_runs_that_failed() -> None:
    runs = [comparisons.record(n, 0) for n in (1, 2)]
    assert compare([runs[0], replace(runs[1], state="FAILED")]).stages == ()


def test_finding_changes_names_findings_of_one_side() -> None:
    one, two = (comparisons.record(n, 0) for n in (2, 4))
    assert one.metrics is not None
    even = replace(one, metrics=replace(one.metrics, stages=one.metrics.stages[:1]))
    [(n, changed)] = explain.finding_changes(compare([even, two]))
    assert n == 1
    assert changed.appeared
    [(_, back)] = explain.finding_changes(compare([two, even]))
    assert {item.kind for item in changed.appeared} == {item.kind for item in back.disappeared}


def test_table_and_page_compare_stages_and_findings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counter[str]()

    def counted(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            counts[name] += 1
            return function(*arguments)

        return call

    for module, name in ((stages, "compare_stages"), (diagnoses, "of_runs")):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    comparison = compare([comparisons.record(n, 0) for n in (1, 2)])
    explain.to_json(comparison, every=True)
    page.html(comparison, gallery.build(comparison), "x")
    assert counts == {"compare_stages": 1, "of_runs": 2}
