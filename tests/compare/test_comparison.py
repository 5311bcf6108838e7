from __future__ import annotations

import csv
import dataclasses
import json
from typing import Any

import pytest

from emrctl.compare import export, records
from emrctl.compare.comparison import LOCAL_NOTE, NO_RESULTS_NOTE, compare
from emrctl.compare.figures import measure
from emrctl.compare.records import RunRecord
from emrctl.compare.verdicts import ONE_RUN_EACH
from emrctl.errors import UsageError
from emrctl.metrics import timeline
from emrctl.metrics.model import ApplicationAccount, ExecutorMetrics, RunMetrics, StageMetrics


def record(name: str, duration_s: float | None, **more: Any) -> RunRecord:
    return RunRecord(id=name, duration_s=duration_s, **more)


def worker(name: str, **more: Any) -> ExecutorMetrics:
    return ExecutorMetrics(id=name, **({"cores": 4, "added_ms": 0} | more))


def metrics(*rows: ExecutorMetrics, **more: Any) -> RunMetrics:
    fields = {"start_ms": 0, "end_ms": 10_000, "duration_ms": 10_000, "complete": True}
    return RunMetrics(executors=rows, **(fields | more))


ONE = record("one", 30.0, settings={"executors": 1})
TWO = record("two", 24.0, settings={"executors": 2})


# Grouping and settings


def test_compare_lists_differing_settings_only() -> None:
    a = record("a", 1.0, job="svm", settings={"executors": 1, "conf": {"spark.x": "1"}})
    b = record("b", 1.0, job="svm", settings={"executors": 1, "dynamic_allocation": False})
    found = {row.name: row.values for row in compare([a, b]).settings}
    assert found == {"conf.spark.x": ("1", None), "dynamic_allocation": (None, "false")}


def test_compare_lists_a_property_under_the_option_that_sets_it() -> None:
    settings = {"executor_memory": "1g", "deploy_mode": "cluster", "env": {"A": "1"}}
    a = record("a", 1.0, settings=settings)
    in_effect = {
        "spark.executor.memory": "9486M",
        "spark.submit.deployMode": "client",
        "spark.executorEnv.A": "2",
    }
    b = record("b", 1.0, properties=in_effect)
    found = {row.name: row.values for row in compare([a, b]).settings}
    assert found == {
        "executor_memory": ("1g", "9486M"),
        "deploy_mode": ("cluster", "client"),
        "env.A": ("1", "2"),
    }


def test_compare_groups_runs_with_equal_settings() -> None:
    again = dataclasses.replace(ONE, id="again", duration_s=34.0)
    found = compare([ONE, TWO, again])
    assert [[r.id for r in item.records] for item in found.configurations] == [
        ["one", "again"],
        ["two"],
    ]
    row = found.row("duration_s")
    assert row is not None
    assert row.measures[0] is not None
    assert row.measures[0].mean == 32.0
    assert row.measures[0].stddev == pytest.approx(2.8284271247)
    assert row.measures[1] is not None
    assert row.measures[1].stddev is None


def test_compare_of_equal_settings_only_compares_each_run() -> None:
    found = compare([record("a", 10.0), record("b", 20.0)])
    assert [item.label for item in found.configurations] == ["a", "b"]
    assert found.verdicts[1].startswith("inconclusive: takes 2.00 × as long as a, but one run each")  # noqa: RUF001


def test_compare_separates_localhost_from_aws() -> None:
    found = compare([ONE, dataclasses.replace(ONE, id="here", local=True)])
    assert [row.name for row in found.settings] == ["target"]
    assert found.notes[0] == LOCAL_NOTE


def test_compare_adds_run_ids_to_equal_labels() -> None:
    found = compare([dataclasses.replace(ONE, label="x"), dataclasses.replace(TWO, label="x")])
    assert [item.label for item in found.configurations] == ["x (one)", "x (two)"]


def test_compare_uses_the_configuration_of_the_reference() -> None:
    found = compare([ONE, TWO], reference=1)
    assert found.reference == 1
    assert found.verdicts == (
        "inconclusive: takes 25.0 % longer than two, but one run each: a difference may be noise",
        "the reference: 24.0 s, one run",
    )
    with pytest.raises(UsageError, match="reference 2 is not an index of 2 runs"):
        compare([ONE, TWO], reference=2)
    with pytest.raises(UsageError, match="no runs to compare"):
        compare([])


# Arithmetic


def test_compare_ignores_values_that_are_not_finite() -> None:
    found = compare([ONE, dataclasses.replace(ONE, id="x", duration_s=float("nan")), TWO])
    row = found.row("duration_s")
    assert row is not None
    assert [item and item.count for item in row.measures] == [1, 1]


def test_compare_of_repeats_states_prior_and_outcomes() -> None:
    found = compare(
        [
            *(record(f"a{n}", value) for n, value in enumerate((100.2, 101.1, 99.7))),
            *(
                record(f"b{n}", value, settings={"executors": 2})
                for n, value in enumerate((120.5, 121.7, 119.3))
            ),
        ]
    )
    assert found.outcomes == (None, "slower")
    assert found.prior is not None
    assert f"how much times vary is estimated with {found.prior}" in found.notes
    assert compare([ONE, TWO]).prior is None


def test_compare_of_a_run_with_itself_says_so() -> None:
    found = compare([ONE, ONE])
    assert [len(item.records) for item in found.configurations] == [1]
    assert "a run compared with itself shows nothing: name another run" in found.notes
    again = compare([ONE, TWO, ONE])
    assert [len(item.records) for item in again.configurations] == [1, 1]
    assert "runs that are named twice count once" in again.notes


def test_compare_ignores_figures_of_failed_runs() -> None:
    failed = record("bad", 2.0, settings={"executors": 2}, state="FAILED")
    found = compare([ONE, failed])
    assert found.verdicts[1] == "FAILED: no completed run to compare"
    row = found.row("duration_s")
    assert row is not None
    assert row.measures[1] is None
    mixed = compare([ONE, TWO, dataclasses.replace(failed, id="worse")])
    assert mixed.configurations[1].state == "1 of 2 COMPLETED"
    assert mixed.verdicts[1].startswith("inconclusive: takes 20.0 % less time than one")
    backwards = compare([failed, ONE])
    assert backwards.verdicts[1] == "30.0 s; bad has no duration to compare with"


# Figures of a run


def value(name: str, run: RunMetrics, **more: Any) -> float | None:
    figure = next(figure for figure in records.FIGURES if figure.key == name)
    return figure.of(record("r", 1.0, metrics=run, **more))


def test_busy_percent_is_task_time_over_available_core_time() -> None:
    # 4 cores x 10 s and 4 cores x 5 s are 60 core seconds, of which 15 were used.
    run = metrics(
        worker("driver", cores=0, task_time_ms=0),
        worker("1", task_time_ms=9_000),
        worker("2", added_ms=1_000, removed_ms=6_000, task_time_ms=6_000),
    )
    assert timeline.core_seconds(run) == 60.0
    assert value("busy_percent", run) == 25.0
    assert value("task_time_s", run) == 15.0
    assert value("cores", run) == 8


def test_busy_percent_with_task_cpus_counts_slots() -> None:
    run = metrics(worker("1", task_time_ms=9_000), environment={"spark.task.cpus": "4"})
    assert value("busy_percent", run) == 90.0
    assert value("cores", run) == 4


def test_peak_cores_counts_simultaneous_executors() -> None:
    run = metrics(worker("1", removed_ms=2_000), worker("2", added_ms=2_000))
    assert value("cores", run) == 4


def test_busy_percent_in_local_mode_uses_the_driver() -> None:
    run = metrics(worker("driver", cores=2, task_time_ms=5_000))
    assert value("busy_percent", run) == 25.0


def test_last_known_time_replaces_a_missing_end() -> None:
    run = metrics(worker("1", task_time_ms=2_000), worker("2", removed_ms=5_000), end_ms=None)
    assert timeline.last_known_ms(run) == 5_000
    assert value("busy_percent", run) == 5.0
    assert value("busy_percent", metrics(worker("1"), end_ms=None)) is None


def test_imbalance_is_maximum_over_mean() -> None:
    one_works = metrics(worker("1", complete_tasks=12), worker("2"), worker("3"), worker("4"))
    assert value("imbalance", one_works) == 4.0
    assert value("imbalance", metrics(worker("1"))) is None


def test_yarn_containers_without_count_are_executors_and_master() -> None:
    account = ApplicationAccount(application_id="a", state="FINISHED", vcore_seconds=40)
    run = metrics(worker("driver"), worker("1"), worker("2"), yarn=account)
    assert value("yarn_containers", run) == 3
    assert value("yarn_vcore_s", run) == 40
    assert value("yarn_memory_mb_s", run) is None
    counted = dataclasses.replace(run, yarn=dataclasses.replace(account, containers=7))
    assert value("yarn_containers", counted) == 7
    label = next(figure.label for figure in records.FIGURES if figure.key == "yarn_vcore_s")
    assert "1 per container" in label
    assert "no CPU use" in label


def test_result_bytes_are_summed_over_ended_stages() -> None:
    stages = [StageMetrics(id=n, result_bytes=size) for n, size in enumerate((300, 40, None))]
    assert value("result_bytes", metrics(stages=tuple(stages))) == 340
    assert value("result_bytes", metrics(stages=tuple(stages[2:]))) is None


def test_gc_percent_is_share_of_executor_run_time() -> None:
    run = metrics(jvm_gc_time_ms=500, executor_run_time_ms=10_000)
    assert value("gc_percent", run) == 5.0
    assert value("gc_percent", metrics()) is None


def test_numbers_of_results_are_figures() -> None:
    result = {"accuracy": 0.5, "best": {"n": 3, "name": "x", "ok": True}, "list": [1]}
    found = compare([dataclasses.replace(ONE, result=result), TWO])
    assert [row.key for row in found.figures if row.key.startswith("result.")] == [
        "result.accuracy",
        "result.best.n",
    ]


def test_verdict_adds_remarks() -> None:
    idle = metrics(worker("1", task_time_ms=1_000, complete_tasks=9), worker("2"), tasks_failed=3)
    busy = metrics(worker("1", task_time_ms=30_000, complete_tasks=9))
    found = compare(
        [
            dataclasses.replace(ONE, metrics=busy, cost_usd=0.1),
            dataclasses.replace(TWO, metrics=idle, cost_usd=0.15),
        ]
    )
    assert found.verdicts[1].split("; ")[1:] == [
        "cores 1 % busy against 75 %",
        "tasks unevenly distributed: 2.0 × the mean on one executor",  # noqa: RUF001
        "3 failed tasks",
        "1.50 × the cost",  # noqa: RUF001
    ]


def test_notes_repeat_warnings_of_runs() -> None:
    warned = record("b", 5.0, warnings=("nothing ran on the cluster's executors",))
    assert "b: nothing ran on the cluster's executors" in compare([ONE, warned]).notes


def test_notes_name_missing_event_logs() -> None:
    cut = dataclasses.replace(TWO, metrics=metrics(complete=False))
    assert compare([ONE, cut]).notes == (
        ONE_RUN_EACH,
        NO_RESULTS_NOTE,
        "one: no event log was pulled, so Spark's figures are missing",
        "two: the event log is incomplete, its figures are lower bounds",
    )


# Exports

NO_REPEATS = dict.fromkeys(
    ["low", "high", "p_value", "p_corrected", "smallest_detectable", "further_repeats"]
)


def test_table_has_published_durations() -> None:
    a = dataclasses.replace(ONE, published_s=1_260.0, published_by="the lecture")
    b = dataclasses.replace(TWO, published_s=1_560.0, published_by="the lecture")
    found = compare([a, b])
    rows = {name: values for name, *values in export.table(found)}
    assert rows["published duration"] == ["1,260.0 s", "1,560.0 s"]
    assert rows["published ratio to the reference"] == ["1.00", "1.24"]
    assert rows["ratio to the reference"] == ["1.00", "0.80"]
    assert [note for note in found.notes if "from the lecture" in note]
    assert compare([ONE, TWO]).row("published_s") is None


def test_to_json_keeps_every_digit() -> None:
    document = export.to_json(compare([ONE, TWO]))
    assert json.loads(json.dumps(document))["figures"][0] == {
        "key": "duration_s",
        "label": "duration",
        "unit": "s",
        "measures": [
            {"mean": 30.0, "minimum": 30.0, "maximum": 30.0, "count": 1, "stddev": None},
            {"mean": 24.0, "minimum": 24.0, "maximum": 24.0, "count": 1, "stddev": None},
        ],
        "ratios": [
            {"value": 1.0, **NO_REPEATS, "verdict": None},
            {"value": pytest.approx(0.8), **NO_REPEATS, "verdict": "inconclusive"},
        ],
    }
    assert document["configurations"][1]["outcome"] == "inconclusive"
    assert document["reference"] == "one"
    assert document["configurations"][1]["settings"] == {"executors": "2", "target": "AWS"}


def test_to_csv_has_a_line_per_figure_and_configuration() -> None:
    rows = list(csv.DictReader(export.to_csv(compare([ONE, TWO])).splitlines()))
    assert [(row["configuration"], row["name"], row["value"], row["ratio"]) for row in rows] == [
        ("one", "executors", "1", ""),
        ("two", "executors", "2", ""),
        ("one", "duration_s", "30.0", "1.0"),
        ("two", "duration_s", "24.0", rows[-1]["ratio"]),
    ]
    assert float(rows[-1]["ratio"]) == pytest.approx(0.8)
    assert rows[-1]["verdict"] == "inconclusive"


def test_to_csv_neutralises_formulas() -> None:
    evil = dataclasses.replace(ONE, label="=HYPERLINK(1)", settings={"executors": "@SUM(1)"})
    rows = list(csv.DictReader(export.to_csv(compare([evil, TWO])).splitlines()))
    assert {row["configuration"] for row in rows} == {"'=HYPERLINK(1)", "two"}
    assert rows[0]["value"] == "'@SUM(1)"


def test_table_of_many_configurations_has_a_row_each() -> None:
    records = [
        record(f"{at}{n}", seconds * (1 + at / 5), settings={"executors": at}, label=f"c{at}")
        for at in range(8)
        for n, seconds in enumerate((100.1, 101.2, 99.7))
    ]
    records.append(record("x", 50.0, label="bad", settings={"executors": 9}, state="FAILED"))
    comparison = compare(records)
    head, *rows = export.table(comparison)
    assert head[1:] == ["runs", "duration", "ratio to the reference", "p (Holm)", "verdict"]
    assert rows[0][0] == "c0"
    assert rows[0][-1] == "reference"
    assert rows[1][3].startswith("1.20 (")
    assert {row[-1] for row in rows[1:-1]} == {"slower"}
    assert rows[-1] == ["bad", "FAILED", "-", "-", "-", "-"]
    assert export.verdict_lines(comparison) == []
    assert len(export.verdict_lines(compare(records[:6]))) == 2


def test_to_markdown_escapes_labels() -> None:
    text = export.to_markdown(compare([dataclasses.replace(ONE, label="a|b\n<i>"), TWO]))
    assert text.splitlines()[:6] == [
        "|  | a\\|b \\<i> | two |",
        "| --- | --- | --- |",
        "| runs | COMPLETED | COMPLETED |",
        "| executors | 1 | 2 |",
        "| duration | 30.0 s | 24.0 s |",
        "| ratio to the reference | 1.00 | 0.80 |",
    ]


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0, "B", "0 B"),
        (999, "B", "999 B"),
        (43_500, "B", "43.5 KB"),
        (1.5e18, "B", "1.5e+03 PB"),
        (1234.56, "s", "1,234.6 s"),
        (0.01234, "USD", "$0.0123"),
        (12.5, "USD", "$12.50"),
        (8577, "", "8,577"),
        (0.98127, "", "0.9813"),
        (2.5, "x", "2.50 ×"),  # noqa: RUF001
    ],
)
def test_amount_formats_units(number: float, unit: str, text: str) -> None:
    assert export.amount(number, unit) == text


def test_cell_of_repeats_has_deviation_and_range() -> None:
    assert export.cell(measure([1.0, 3.0]), "s") == "2.0 s ± 1.4 s (1.0 s … 3.0 s)"
    assert export.cell(measure([2.0, 2.0]), "s") == "2.0 s"
    assert export.cell(None, "s") == "-"
