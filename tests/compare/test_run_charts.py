from __future__ import annotations

import dataclasses
from typing import Any

from emrctl.compare import activity, run_charts
from emrctl.compare.drawing import Chart
from emrctl.compare.stages import compare_stages
from emrctl.metrics.model import ExecutorMetrics, RunMetrics
from tests.compare import comparisons
from tests.compare.stage_runs import run, spread, stage


def rows(chart: Chart | None, layer: int) -> list[dict[str, Any]]:
    assert chart is not None
    found: list[dict[str, Any]] = chart.layers[layer]["data"]["values"]
    return found


def executors(metrics: RunMetrics, *, log: bool = True) -> Chart:
    found = activity.read(metrics, (lambda: comparisons.event_log(metrics)) if log else tuple)
    assert found is not None
    return run_charts.executors(found, 0, "a", "run-1", found.end_s)


def test_executors_has_a_frame_per_executor_and_its_load() -> None:
    chart = executors(comparisons.metrics(2))
    frames, areas = rows(chart, 0), rows(chart, 1)
    assert [frame["x"] for frame in frames] == [8.0, 8.5]
    assert frames[0]["tip"].startswith("Executor 1 on worker: 2 cores, 10 tasks, ")
    assert "idle for" in frames[0]["tip"]
    assert {row["row"] for row in areas} == {"all", "1", "2"}
    # One task on two cores: half of the row's height, 0.8, is filled.
    assert min(row["y"] for row in areas if row["row"] == "1") == 1.5


def test_executors_without_event_log_has_mean_loads() -> None:
    areas = rows(executors(comparisons.metrics(2), log=False), 1)
    assert {row["row"] for row in areas} == {"1", "2"}
    assert len(areas) == 4


def test_executors_of_many_shows_the_first_ones() -> None:
    one = ExecutorMetrics(id="1", cores=1, added_ms=0)
    many = tuple(dataclasses.replace(one, id=str(n)) for n in range(100))
    chart = executors(RunMetrics(start_ms=0, end_ms=9_000, executors=many))
    assert len(rows(chart, 0)) == run_charts.MAX_EXECUTORS
    assert "the first 40 are shown" in chart.note


def test_nodes_has_cpu_and_memory_of_each_node() -> None:
    metrics = comparisons.metrics(2)
    end_s = (metrics.end_ms or 0) / 1000
    found = activity.nodes(comparisons.node_samples(metrics), 0, end_s)
    chart = run_charts.nodes(found, 0, "a", "run-1", end_s)
    frames, used, allocated = (rows(chart, layer) for layer in range(3))
    assert [frame["tip"] for frame in frames[:2]] == [
        "CPU of ip-10-0-1-0.ec2.internal:8041: 1.0 of 4 cores, at most 2.0",
        (
            "Memory of ip-10-0-1-0.ec2.internal:8041: 3,072 of 12,288 MB, at most 3,072, "
            "allocated at most 6,144"
        ),
    ]
    assert len(frames) == 4
    assert chart.y_axis is not None
    assert "ip-10-0-1-1 \\u00b7 memory" in chart.y_axis["labelExpr"]
    # Two of four cores fill half of the row's height, 0.8, until the node is idle.
    cpu = [row["y"] for row in used if row["row"].endswith(":8041 0")]
    assert (min(cpu), max(cpu)) == (0.5, 0.9)
    assert {row["y"] for row in allocated} == {1.5, 3.5}


def test_nodes_of_many_samples_are_thinned_and_the_first_ones_shown() -> None:
    metrics = comparisons.metrics(2)
    end_s = (metrics.end_ms or 0) / 1000
    samples = comparisons.node_samples(metrics, count=512, workers=100)
    found = activity.nodes(samples, 0, end_s)
    assert {len(item.at_s) for item in found} == {74}
    assert found[1].cpu == (0.75,) * 74
    chart = run_charts.nodes(found, 0, "a", "run-1", end_s)
    assert chart.rows == 2 * run_charts.MAX_NODES
    assert "the first 12 are shown" in chart.note


def test_nodes_without_two_samples_during_the_application_are_left_out() -> None:
    metrics = comparisons.metrics(2)
    samples = comparisons.node_samples(metrics)
    assert activity.nodes(samples[:1], 0, 100) == []
    assert activity.nodes(samples, 10_000_000, 100) == []


def test_nodes_without_measured_use_have_the_allocation_only() -> None:
    metrics = comparisons.metrics(2)
    samples = [
        dataclasses.replace(
            one,
            nodes=tuple(
                dataclasses.replace(n, containers_cpu_cores=None, containers_memory_mb=None)
                for n in one.nodes
            ),
        )
        for one in comparisons.node_samples(metrics)
    ]
    chart = run_charts.nodes(activity.nodes(samples, 0, 100), 0, "a", "run-1", 100)
    frames, used, allocated = (rows(chart, layer) for layer in range(3))
    assert [frame["tip"] for frame in frames] == [
        f"Memory of ip-10-0-1-{n}.ec2.internal:8041: allocated at most 6,144 MB" for n in (0, 1)
    ]
    assert used == []
    assert {row["y"] for row in allocated} == {0.5, 1.5}


def test_stages_has_a_bar_per_stage_with_reasons() -> None:
    one = run(stage(0, 0, 10), stage(1, 10, 20), end_s=40)
    two = run(stage(0, 0, 10), stage(1, 10, 45, tasks=2), end_s=60)
    compared = compare_stages([one], [two])
    assert compared is not None
    chart = run_charts.stages(compared, "stages-2", "a", "b")
    bars = rows(chart, 1)
    assert [bar["x2"] for bar in bars] == [25.0, -5.0, 0.0]
    assert bars[0]["tip"].startswith("stage b (stage 1): +25.0 s; computing")
    assert "tasks 8 \N{RIGHTWARDS ARROW} 2" in bars[0]["tip"]
    assert bars[1]["tip"].startswith("Driver, no stage running: \N{MINUS SIGN}5.0 s")
    assert bars[2]["tip"].startswith("1 other stages")
    assert (bars[0]["colour"], bars[1]["colour"]) == ("var(--slower)", "var(--faster)")


def test_stages_of_many_shows_the_largest_changes() -> None:
    one = run(*(stage(n, n, n + 1, f"s{chr(97 + n)}") for n in range(20)))
    two = run(*(stage(n, 3 * n, 3 * n + 2, f"s{chr(97 + n)}") for n in range(20)))
    compared = compare_stages([one], [two])
    assert compared is not None
    bars = rows(run_charts.stages(compared, "stages-2", "a", "b"), 1)
    assert len(bars) == run_charts.MAX_STAGES + 2
    assert sum(bar["x2"] for bar in bars) == 0.0  # both applications take 100 s


def test_tasks_has_a_row_per_stage_and_configuration() -> None:
    chart = run_charts.tasks(
        [("scan", [spread(100, 900), None]), ("join", [spread(0, 10), spread(20, 30)])],
        [(0, "a"), (3, "b")],
    )
    boxes = rows(chart, 1)
    assert [box["colour"] for box in boxes] == ["var(--c0)", "var(--c0)", "var(--c3)"]
    assert boxes[0]["tip"].startswith("a, scan: median 0.10 s")
    # A logarithmic axis has no 0.
    assert all(row["x"] > 0 for row in rows(chart, 0))
    assert run_charts.tasks([("scan", [None])], [(0, "a")]) is None


def test_load_of_all_executors_is_relative_to_their_slots_and_ends_at_zero() -> None:
    # Half of the slots are busy for 50 s, then none.
    row = ExecutorMetrics(id="1", cores=2, added_ms=0, task_time_ms=50_000)
    metrics = dataclasses.replace(run(stage(0, 0, 50)), executors=(row,))
    corners = rows(executors(metrics), 1)
    together = [(c["x"], c["y"], c["y2"]) for c in corners if c["row"] == "all"]
    assert together == [(0.0, 0.5, 0.9), (50.0, 0.9, 0.9), (100.0, 0.9, 0.9)]
    assert [(c["x"], c["y"]) for c in corners if c["row"] == "1"] == [
        (0, 1.5),
        (50, 1.9),
        (100, 1.9),
    ]
