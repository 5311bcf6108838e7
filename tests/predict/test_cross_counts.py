"""Predictions from each executor count to each other one, for generated jobs with known times.

The generator assigns tasks by itself; executors have slow first tasks, and tasks vary between runs.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from pathlib import Path
from statistics import median
from typing import NamedTuple

from emrctl.predict import prediction
from tests.predict.logs import LogWriter

COUNTS = (1, 2, 4, 8)
SUBMISSION_S, BETWEEN_S, FIRST_OF_STAGE_S = 0.02, 0.003, 0.03


class Shape(NamedTuple):
    """The work of an application: gap before each job and task times of its chained stages."""

    jobs: list[tuple[float, list[list[float]]]]
    first_s: float


def draw_shape(seed: int) -> Shape:
    """Return one to eight jobs of one to three stages with log-normal task times and some skew."""
    draw = random.Random(seed)  # noqa: S311
    typical_s, sigma = draw.choice([0.3, 0.8, 1.5]), draw.choice([0.2, 0.5, 0.9])
    jobs = []
    for _ in range(draw.choice([1, 3, 8])):
        stages = []
        for _ in range(draw.choice([1, 2, 3])):
            count = draw.choice([8, 13, 24, 60])
            times_s = [typical_s * draw.lognormvariate(0, sigma) for _ in range(count)]
            if draw.random() < 0.2:
                times_s[draw.randrange(count)] *= 6
            stages.append(times_s)
        jobs.append((draw.uniform(0, 2), stages))
    return Shape(jobs, draw.uniform(0.5, 1.5))


class Generator:
    """Runs the work on executors of one core and writes its log."""

    def __init__(self, shape: Shape, executors: int, seed: int) -> None:
        self._noise = random.Random(f"{seed} on {executors}")  # noqa: S311
        self._executors = executors
        self._warm: set[int] = set()
        self._first_s = shape.first_s
        self._stage = 0
        self.in_job_s = 0.0
        starts = [0.5 + 0.1 * number for number in range(executors)]
        self.log = LogWriter(starts, 1, spark_pyspark_python="python3")
        now_s = 10.0
        for number, (gap_s, stages) in enumerate(shape.jobs):
            now_s = self._job(number, now_s + gap_s, stages)
        self.log.end(now_s + 1)

    def _job(self, number: int, start_s: float, stages: list[list[float]]) -> float:
        ids = range(self._stage, self._stage + len(stages))
        parents = {stage: [stage - 1] if stage > ids[0] else [] for stage in ids}
        self.log.job_start(number, start_s, parents)
        now_s = start_s
        for times_s in stages:
            now_s = self._run_stage(now_s, times_s)
        self.log.job_end(number, now_s)
        self.in_job_s += now_s - start_s
        return now_s

    def _run_stage(self, submitted_s: float, times_s: list[float]) -> float:
        free = [(submitted_s + SUBMISSION_S, number) for number in range(self._executors)]
        self._noise.shuffle(free)
        heapq.heapify(free)
        seen: set[int] = set()
        rows = []
        for time_s in times_s:
            launched_s, number = heapq.heappop(free)
            run_s = time_s * math.exp(self._noise.gauss(0, 0.005))
            overhead_s = 0.008 + (0.0 if number in seen else FIRST_OF_STAGE_S)
            if number not in self._warm:
                first_s = self._first_s * self._noise.uniform(0.8, 1.3)
                overhead_s, run_s = overhead_s + 0.35 * first_s, run_s + 0.65 * first_s
            seen.add(number)
            self._warm.add(number)
            rows.append((str(number), launched_s, launched_s + overhead_s + run_s, overhead_s))
            heapq.heappush(free, (rows[-1][2] + BETWEEN_S, number))
        completed_s = max(row[2] for row in rows) + 0.003
        self.log.stage(self._stage, submitted_s, completed_s, rows)
        self._stage += 1
        return completed_s


def test_predictions_from_each_count_to_each_other_are_close(tmp_path: Path) -> None:
    errors, covered = [], []
    for seed in range(8):
        shape = draw_shape(seed)
        runs = {count: Generator(shape, count, seed) for count in COUNTS}
        logs = {count: run.log.read(tmp_path) for count, run in runs.items()}
        for source, target in itertools.permutations(COUNTS, 2):
            [point] = prediction.predict(*logs[source], (target,)).points
            truth_s = runs[target].in_job_s
            errors.append(abs(point.predicted_in_job_s / truth_s - 1))
            covered.append(point.low_s <= truth_s <= point.high_s)
    errors.sort()
    assert median(errors) <= 0.02
    assert errors[int(0.9 * len(errors))] <= 0.07
    assert errors[-1] <= 0.20
    assert sum(covered) / len(covered) >= 0.85
