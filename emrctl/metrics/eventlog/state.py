"""What is known of one application while its log goes by."""

from __future__ import annotations

from typing import Any

from emrctl.metrics.eventlog.lineage import Lineage
from emrctl.metrics.eventlog.sqlfigures import SqlFigures
from emrctl.metrics.eventlog.tallies import FAILED, KILLED, OK, SUMS, ExecutorTally, StageTally
from emrctl.metrics.eventlog.taskbook import TaskBook
from emrctl.metrics.model import RunMetrics, SqlMetrics

DRIVERS = frozenset({"driver", "<driver>"})


class EventLogState:
    """Tallies by their ids; `comings` are executors' (time, +1 or -1) in the log's order."""

    def __init__(self) -> None:
        self.app: dict[str, Any] = {}
        self.spark_version: str | None = None
        self.start_ms: int | None = None
        self.end_ms: int | None = None
        self.environment: dict[str, str] = {}
        self.stages: dict[tuple[int, int], StageTally] = {}
        self.declared_stages: set[int] = set()
        self.executors: dict[str, ExecutorTally] = {}
        self.jobs: dict[int, str] = {}
        self.sql: dict[int, SqlMetrics] = {}
        self.tasks = TaskBook()
        self.lineage = Lineage()
        self.figures = SqlFigures()
        self.peak_executors = 0
        self.malformed = 0
        self.comings: list[tuple[int, int]] = []
        self.unmatched = {"jobs": 0, "queries": 0, "executors": 0}
        self.twice = {"jobs": 0, "queries": 0, "executors": 0}

    def stage(self, stage_id: int, attempt: int) -> StageTally:
        """The tally of that attempt, a new one where it is heard of for the first time."""
        key = (stage_id, attempt)
        found = self.stages.get(key)
        if found is None:
            found = self.stages[key] = StageTally(*key)
        return found

    def executor(self, executor_id: str, time_ms: int | None) -> ExecutorTally:
        """The executor's tally; `time_ms` is when something told of it."""
        found = self.executors.get(executor_id)
        if found is None:
            found = self.executors[executor_id] = ExecutorTally(executor_id, time_ms)
        elif time_ms is not None and not found.added:
            found.added_ms = min(time_ms, found.added_ms or time_ms)
        return found

    def record(self) -> RunMetrics:
        """The figures as they stand."""
        stages = tuple(self.stages[key].record() for key in sorted(self.stages))
        return RunMetrics(
            app_id=self.app.get("App ID"),
            app_attempt=self.app.get("App Attempt ID"),
            app_name=self.app.get("App Name"),
            spark_version=self.spark_version,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            duration_ms=self._duration_ms(),
            jobs=len(self.jobs),
            jobs_succeeded=self._count_jobs("SUCCEEDED"),
            jobs_failed=self._count_jobs("FAILED"),
            **self._totals(),
            peak_executors=self.peak_executors,
            stages=stages,
            executors=tuple(
                self.executors[name].record() for name in sorted(self.executors, key=_natural)
            ),
            sql=tuple(self.figures.completed(query) for _, query in sorted(self.sql.items())),
            reuses=self.lineage.reuses({s.id: s for s in stages if not s.attempt}),
            environment=self.environment,
        )

    def _duration_ms(self) -> int | None:
        if self.start_ms is None or self.end_ms is None:
            return None
        return self.end_ms - self.start_ms

    def _count_jobs(self, status: str) -> int:
        return sum(found == status for found in self.jobs.values())

    def _totals(self) -> dict[str, Any]:
        stages = self.stages.values()
        states = [stage.status for stage in stages]
        sums = [sum(stage.sums[at] for stage in stages) for at in range(len(SUMS) - 1)]
        return {
            "stages_completed": states.count("COMPLETE"),
            "stages_failed": states.count("FAILED"),
            "tasks_ok": sum(stage.ended[OK] for stage in stages),
            "tasks_failed": sum(stage.ended[FAILED] for stage in stages),
            "tasks_killed": sum(stage.ended[KILLED] for stage in stages),
            **dict(zip(SUMS[:-1], sums, strict=True)),
        }


def _natural(executor_id: str) -> tuple[bool, int, str]:
    """The driver, then numbers by their size, then words."""
    number = int(executor_id) if executor_id.isdecimal() and len(executor_id) < 19 else 1 << 62
    return (executor_id not in DRIVERS, number, executor_id)
