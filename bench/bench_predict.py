"""Predict the in-job time of recorded jobs at other executor counts, beside Sparklens' model.

Reads the logs that record_predict.py has written (`--logs FOLDER`), and predicts every count from
every other one. Without them, only the curves on public times of jobs on EMR are evaluated.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from emrctl.metrics.eventlog import layout, reader
from emrctl.metrics.model import JobMetrics, RunMetrics, TaskMetrics
from emrctl.predict import curves, graph, prediction
from emrctl.predict.graph import WorkGraph

_ROOT = Path(__file__).resolve().parents[1]
_LOGS = _ROOT / ".cache" / "predict-logs"
PUBLIC = _ROOT.parent / "shared" / "data" / "c3o"
_MOST = 8
BARS = {"median": 0.02, "p90": 0.07, "worst": 0.20}
CURVE_BAR, COVERAGE = 0.03, (0.85, 0.95)
MEASURED = ((2, 6, 12), (2, 4, 12), (2, 4, 8), (4, 8, 12))


class Log(NamedTuple):
    """A recorded run: its records, and its work."""

    run: RunMetrics
    jobs: list[JobMetrics]
    tasks: list[TaskMetrics]
    work: WorkGraph


class Trial(NamedTuple):
    """One prediction with the truth, in seconds."""

    name: str
    truth_s: float
    value_s: float
    low_s: float
    high_s: float
    sparklens_s: float


def main() -> None:
    """Print errors and coverage; exit with 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--logs", type=Path, default=_LOGS, help="folder of recorded logs")
    options = parser.parse_args()
    passed = [evaluate_replay(options.logs), evaluate_curves(PUBLIC)]
    sys.exit(0 if all(passed) else 1)


# The replay


def evaluate_replay(folder: Path) -> bool:
    """Print the errors between all counts up to 8; return whether the bars are met."""
    names = sorted({path.stem for path in folder.glob("*.*")}) if folder.is_dir() else []
    if not names:
        print(f"no logs in {folder}: record them with bench/record_predict.py")
        return True
    trials = [trial for name in names for trial in cross(name, load(folder, name))]
    for name in names:
        own = [trial for trial in trials if trial.name.startswith(f"{name} ")]
        if own:
            print_errors(name, own)
    return print_errors("all jobs", trials)


def load(folder: Path, name: str) -> dict[int, Log]:
    """Return the logs of a job by their number of executors."""
    logs = {}
    for path in sorted(folder.glob(f"{name}.*")):
        run, jobs, tasks = reader.read_jobs(layout.list_files(path))
        work = graph.build(run, jobs, tasks)
        if work is None:
            raise SystemExit(f"{path} has no completed job")
        logs[int(path.suffix[1:])] = Log(run, jobs, tasks, work)
    return logs


def cross(name: str, logs: dict[int, Log]) -> Iterator[Trial]:
    """Predict each count up to 8 from each other one."""
    counts = [count for count in sorted(logs) if count <= _MOST]
    for source in counts:
        others = [count for count in counts if count != source]
        log = logs[source]
        points = prediction.predict(log.run, log.work, others).points
        for count, point in zip(others, points, strict=True):
            if point.refused:
                continue
            yield Trial(
                f"{name} {source} to {count}",
                logs[count].work.in_job_s,
                point.predicted_in_job_s,
                point.low_s,
                point.high_s,
                sparklens_s(log, count * log.work.cores),
            )


def print_errors(label: str, trials: list[Trial]) -> bool:
    """Print a line for each model; return whether the bars are met."""
    errors = sorted(abs(trial.value_s / trial.truth_s - 1) for trial in trials)
    peer = sorted(abs(trial.sparklens_s / trial.truth_s - 1) for trial in trials)
    covered = mean(trial.low_s <= trial.truth_s <= trial.high_s for trial in trials)
    figures = summary(errors)
    print(f"{label}: {len(trials)} predictions, in-job error median / p90 / worst in %")
    print(f"  emrctl     {text(figures)}; 90 % intervals contain {covered:.0%}")
    print(f"  Sparklens  {text(summary(peer))}")
    within = all(figures[name] <= bar for name, bar in BARS.items())
    return within and COVERAGE[0] <= covered <= COVERAGE[1]


def summary(errors: list[float]) -> dict[str, float]:
    rank = min(int(0.9 * len(errors)), len(errors) - 1)
    return {"median": median(errors), "p90": errors[rank], "worst": errors[-1]}


def text(figures: dict[str, float]) -> str:
    return " / ".join(f"{100 * value:.1f}" for value in figures.values())


def sparklens_s(log: Log, slots: int) -> float:
    """Return the in-job time of Sparklens' published model.

    Jobs run one after another in groups that overlap; within a group a queue of tasks in the order
    of their stages fills the slots, tasks take their executor run time (at least 1 ms), and a stage
    starts when all parents have ended.
    """
    tasks: defaultdict[int, list[float]] = defaultdict(list)
    for task in log.tasks:
        tasks[task.stage].append(max(task.executor_run_time_ms, 1) / 1000)
    total_s, group, reached = 0.0, list[JobMetrics](), 0
    for job in sorted(log.jobs, key=lambda job: job.submitted_ms):
        if group and job.submitted_ms >= reached:
            total_s += _group_s(group, tasks, slots)
            group = []
        group.append(job)
        reached = max(reached, job.completed_ms or job.submitted_ms)
    return total_s + _group_s(group, tasks, slots)


def _group_s(
    group: Iterable[JobMetrics], tasks: defaultdict[int, list[float]], slots: int
) -> float:
    parents = {stage: set(ids) for job in group for stage, ids in job.parents.items()}
    waiting = {stage: len(tasks[stage]) for stage in parents if tasks[stage]}
    ends: dict[int, float] = dict.fromkeys(set(parents) - set(waiting), 0.0)
    free, end_s = [0.0] * slots, 0.0
    while waiting:
        stage = min(item for item in waiting if parents[item] & set(parents) <= set(ends))
        ready_s = max((ends[parent] for parent in parents[stage] if parent in ends), default=0.0)
        last_s = ready_s
        for duration_s in tasks[stage]:
            start_s = max(heapq.heappop(free), ready_s)
            heapq.heappush(free, start_s + duration_s)
            last_s = max(last_s, start_s + duration_s)
        ends[stage] = last_s
        end_s = max(end_s, last_s)
        del waiting[stage]
    return end_s


# The curves


def evaluate_curves(folder: Path) -> bool:
    """Print the errors of curves through three scales; return whether the bars are met."""
    if not folder.is_dir():
        print(f"no public times in {folder}")
        return True
    groups = [group for path in sorted(folder.glob("*.tsv")) for group in times(path)]
    errors, plain, covered = [], [], []
    for measured in MEASURED:
        rows = [row for group in groups for row in curve_rows(group, measured)]
        errors += [row[0] for row in rows]
        plain += [row[1] for row in rows]
        covered += [row[2] for row in rows]
        print(
            f"curves from {measured}: mean error {100 * mean(row[0] for row in rows):.1f} %, "
            f"interpolation in 1/n {100 * mean(row[1] for row in rows):.1f} %, 90 % intervals "
            f"contain {mean(row[2] for row in rows):.0%} of {len(rows)}"
        )
    print(
        f"curves: mean error {100 * mean(errors):.1f} % (median {100 * median(errors):.1f}), "
        f"interpolation in 1/n {100 * mean(plain):.1f} % (median {100 * median(plain):.1f}), "
        f"coverage {mean(covered):.0%}"
    )
    return mean(errors) <= CURVE_BAR and COVERAGE[0] <= mean(covered) <= COVERAGE[1]


def times(path: Path) -> list[dict[int, list[float]]]:
    """Return the times of each job, instance type and input by number of nodes."""
    groups: defaultdict[tuple[str, ...], defaultdict[int, list[float]]]
    groups = defaultdict(lambda: defaultdict(list))
    scale, time = "instance_count", "gross_runtime"
    with path.open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            key = tuple(v for k, v in row.items() if k not in {scale, time, "slots", "memory"})
            groups[key][int(row[scale])].append(float(row[time]))
    return list(groups.values())


def curve_rows(
    group: dict[int, list[float]], measured: tuple[int, ...]
) -> Iterator[tuple[float, float, bool]]:
    """Yield both errors and whether the interval contains the truth, for each other scale."""
    if not set(measured) <= set(group):
        return
    points = {scale: group[scale] for scale in measured}
    curve = curves.fit(points)
    for scale in sorted(set(group) - set(measured)):
        estimate, truth = curve.at(scale), median(group[scale])
        if estimate.refused is None:
            yield (
                abs(estimate.value / truth - 1),
                abs(_interpolated(points, scale) / truth - 1),
                estimate.low <= truth <= estimate.high,
            )


def _interpolated(points: dict[int, list[float]], scale: int) -> float:
    """Interpolate linearly over 1/n between the neighbouring scales; extrapolate from the last."""
    rows = sorted((1 / n, median(values)) for n, values in points.items())
    at = 1 / scale
    pairs = list(itertools.pairwise(rows))
    (x0, y0), (x1, y1) = next((pair for pair in pairs if at <= pair[1][0]), pairs[-1])
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


if __name__ == "__main__":
    main()
