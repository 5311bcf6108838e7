"""Points, intervals and refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.errors import NotFoundError, UsageError
from emrctl.predict import history, prediction
from emrctl.predict.prediction import Point, Price
from tests.predict.logs import LogWriter, one_stage

DURATIONS = [1.0] * 64


@pytest.mark.parametrize(
    ("text", "counts"),
    [("1..4", (1, 2, 3, 4)), ("8,1,2", (1, 2, 8)), ("1,4..6", (1, 4, 5, 6)), ("3", (3,))],
)
def test_counts_are_numbers_and_ranges(text: str, counts: tuple[int, ...]) -> None:
    assert prediction.parse_counts(text, "--executors") == counts


@pytest.mark.parametrize("text", ["", "0", "4..1", "a", "1..", "-3", "1.5", "1..99999"])
def test_counts_reject_other_text_and_name_the_flag(text: str) -> None:
    with pytest.raises(UsageError, match="--executors"):
        prediction.parse_counts(text, "--executors")


def test_points_have_the_documented_keys(tmp_path: Path) -> None:
    result = prediction.predict(*one_stage(DURATIONS).read(tmp_path), (1, 4))
    document = result.to_json()
    assert [set(point) for point in document["points"]] == 2 * [
        {
            "executors",
            "cores",
            "predicted_wall_s",
            "predicted_in_job_s",
            "low_s",
            "high_s",
            "cost_usd",
            "refused",
            "floors",
        }
    ]
    assert set(document["points"][0]["floors"]) == {"critical_path_s", "no_skew_s", "one_core_s"}
    four = result.points[1]
    assert four.predicted_in_job_s == pytest.approx(16, rel=0.01)
    assert four.low_s < four.predicted_in_job_s < four.high_s
    assert four.cost_usd is None


def test_own_error_is_reported_at_observed_count(tmp_path: Path) -> None:
    result = prediction.predict(*one_stage(DURATIONS).read(tmp_path), (1,))
    assert result.observed.executors == 1
    assert result.observed.error_percent == pytest.approx(0, abs=0.1)
    assert result.points[0].predicted_in_job_s == pytest.approx(64, rel=0.001)


def test_interval_widens_with_distance(tmp_path: Path) -> None:
    result = prediction.predict(*one_stage(DURATIONS).read(tmp_path), (1, 2, 8))
    widths = [point.high_s / point.low_s for point in result.points]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def spread(point: Point) -> float:
    """Return the standard deviation that the 90 % interval of a prediction was made of."""
    above = math.log(point.high_s / point.predicted_in_job_s)
    assert above == pytest.approx(math.log(point.predicted_in_job_s / point.low_s))
    return above / 1.6449


def test_interval_has_the_deviations_that_were_validated(tmp_path: Path) -> None:
    run, graph = one_stage(DURATIONS).read(tmp_path)
    points = prediction.predict(run, graph, (1, 2, 4)).points
    expected = [0.012, math.hypot(0.012, 0.02), math.hypot(0.012, 0.04)]
    assert [spread(point) for point in points] == pytest.approx(expected)
    cut = replace(run, complete=False)
    [point] = prediction.predict(cut, graph, (1,)).points
    assert spread(point) == pytest.approx(math.hypot(0.012, 0.1))
    graph.cores, graph.in_job_s = 2, 32.0
    [point] = prediction.predict(run, graph, (1,), (1,)).points
    assert spread(point) == pytest.approx(math.hypot(0.012, 0.02, 0.05))


def test_interval_of_measured_counts_and_between_them(tmp_path: Path) -> None:
    # Four executors took a quarter longer than the 16 s of the replay.
    run, graph = one_stage(DURATIONS).read(tmp_path)
    off = math.log(1.25)
    points = prediction.predict(run, graph, (1, 2, 4, 8), measured_s={4: [20.0]}).points
    times_s = [point.predicted_in_job_s for point in points]
    assert times_s == pytest.approx([64, 32 * math.sqrt(1.25), 20, 10])
    away = math.hypot(0.02, 0.02)
    expected = [0.02, math.hypot(away, 0.25 * off), 0.02, math.hypot(away, 0.5 * off)]
    assert [spread(point) for point in points] == pytest.approx(expected)


def test_interval_contains_the_error_of_first_tasks_and_crowded_hosts(tmp_path: Path) -> None:
    run, graph = one_stage(DURATIONS).read(tmp_path)
    graph.overheads = replace(graph.overheads, executor_s=3.2, executor_error_s=0.6)
    [one, two] = prediction.predict(run, graph, (1, 2)).points
    assert spread(one) == pytest.approx(0.012)
    first_tasks = math.hypot(0.6, 0.25 * 3.2) / 32  # no task of this log was a first one
    assert spread(two) == pytest.approx(math.hypot(0.012, 0.02, first_tasks))
    graph.overheads = replace(graph.overheads, executor_s=0.0, executor_error_s=0.0)
    graph.host_cores = 2.0
    [four] = prediction.predict(run, graph, (4,)).points
    assert spread(four) == pytest.approx(math.hypot(0.012, 0.04, 0.025))


def test_own_error_of_the_replay_is_corrected_and_widens_the_interval(tmp_path: Path) -> None:
    run, graph = one_stage(DURATIONS).read(tmp_path)
    graph.in_job_s = 64 * 1.2
    result = prediction.predict(run, graph, (1, 2, 4))
    times_s = [point.predicted_in_job_s for point in result.points]
    assert times_s == pytest.approx([76.8, 32 * 1.2 ** (1 / 2), 16 * 1.2 ** (1 / 3)])
    own = 0.7 * math.log(1.2)
    expected = [0.012, math.hypot(0.012, 0.02, own), math.hypot(0.012, 0.04, own)]
    assert [spread(point) for point in result.points] == pytest.approx(expected)
    assert result.observed.error_percent == pytest.approx(100 * (64 / 76.8 - 1))


@pytest.mark.parametrize(("executors", "refused"), [(16, False), (17, True)])
def test_counts_up_to_16_times_the_observed_one_are_predicted(
    tmp_path: Path, executors: int, refused: bool
) -> None:
    run, graph = one_stage(DURATIONS).read(tmp_path)
    [point] = prediction.predict(run, graph, (executors,)).points
    assert (point.refused is not None) == refused
    graph.executors = executors
    [point] = prediction.predict(run, graph, (1,)).points
    assert (point.refused is not None) == refused


def test_executor_without_cores_for_one_task_is_refused(tmp_path: Path) -> None:
    run, graph = one_stage(DURATIONS).read(tmp_path)
    graph.cores = graph.task_cpus = 2
    refusals = [p.refused for p in prediction.predict(run, graph, (1,), (1, 2)).points]
    assert refusals == ["spark.task.cpus is 2: no task fits 1 cores", None]


@pytest.mark.parametrize(
    ("executors", "cores", "words"),
    [(1, 2, "more cores per executor"), (40, 1, "more than 16 times")],
)
def test_point_outside_measurements_is_refused(
    tmp_path: Path, executors: int, cores: int, words: str
) -> None:
    run, graph = one_stage(DURATIONS).read(tmp_path)
    [point] = prediction.predict(run, graph, (executors,), (cores,)).points
    assert words in (point.refused or "")


def test_cached_data_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    run, graph = one_stage(DURATIONS, executors=(0.0,) * 4).read(tmp_path)
    rows = tuple(
        replace(row, storage_used_bytes=60, storage_total_bytes=100) for row in run.executors
    )
    result = prediction.predict(replace(run, executors=rows), graph, (1, 2, 3, 4))
    refusals = [point.refused for point in result.points]
    assert all("would not fit" in (text or "") for text in refusals[:2])
    assert refusals[2:] == [None, None]


def test_log_that_lacks_tasks_is_refused(tmp_path: Path) -> None:
    log = one_stage(DURATIONS)
    ends = [line for line in log.lines if line["Event"] == "SparkListenerTaskEnd"]
    for line in ends[:10]:
        log.lines.remove(line)
    [point] = prediction.predict(*log.read(tmp_path), (2,)).points
    assert point.refused == "the event log lacks 16% of the tasks"


def test_incomplete_log_has_wider_intervals(tmp_path: Path) -> None:
    log = one_stage(DURATIONS)
    [whole] = prediction.predict(*log.read(tmp_path), (2,)).points
    del log.lines[-1]
    cut = prediction.predict(*log.read(tmp_path), (2,))
    assert cut.points[0].high_s > whole.high_s
    assert any("incomplete" in note for note in cut.notes)


def test_log_without_jobs_is_rejected(tmp_path: Path) -> None:
    log = LogWriter()
    log.end(5)
    with pytest.raises(NotFoundError, match="no completed job"):
        log.read(tmp_path)


def test_measured_runs_correct_the_prediction(tmp_path: Path) -> None:
    run, graph = one_stage(DURATIONS).read(tmp_path)
    # Four executors took 20 s, not the 16 s of the replay: contention.
    result = prediction.predict(run, graph, (2, 4), measured_s={4: [20.0, 20.2]})
    two, four = result.points
    assert four.predicted_in_job_s == pytest.approx(20.1, rel=0.01)
    assert 33 < two.predicted_in_job_s < 39  # half of the correction
    assert any("measured runs with 1, 4 executors" in note for note in result.notes)


def test_cost_is_the_price_of_the_cluster_for_the_total_time(tmp_path: Path) -> None:
    run, graph = one_stage(DURATIONS).read(tmp_path)
    price = Price({1: 3.6, 2: 7.2}, "cost: as in the test")
    result = prediction.predict(run, graph, (1, 2, 4), price=price)
    one, two, four = result.points
    assert one.cost_usd == pytest.approx(one.predicted_wall_s * 0.001)
    assert two.cost_usd == pytest.approx(two.predicted_wall_s * 0.002)
    assert four.cost_usd is None
    assert "cost: as in the test" in result.notes


def test_floors_do_not_exceed_the_prediction(tmp_path: Path) -> None:
    result = prediction.predict(*one_stage([1.0, 9.0, *DURATIONS]).read(tmp_path), (1, 3, 16))
    for point in result.points:
        assert point.floors.critical_path_s <= point.predicted_in_job_s * 1.001
        assert point.floors.no_skew_s <= point.predicted_in_job_s * 1.001
    assert result.points[0].floors.one_core_s == pytest.approx(74, rel=0.01)


def test_history_module_reads_a_log(tmp_path: Path) -> None:
    run, graph = history.read_path(one_stage(DURATIONS).write(tmp_path / "app-1"))
    assert run.complete
    assert sum(sum(stage.tasks_s) for stage in graph.stages.values()) == pytest.approx(64)
