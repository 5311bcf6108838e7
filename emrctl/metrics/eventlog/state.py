"""Everything that has been read of one application, up to the current event of its log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import Struct, field

from emrctl.metrics.eventlog.events import ApplicationStart, StorageLevel
from emrctl.metrics.eventlog.plans import PlanOperators
from emrctl.metrics.eventlog.storage import CachedBlocks
from emrctl.metrics.eventlog.tallies import FAILED, KILLED, OK, ExecutorTally, StageTally
from emrctl.metrics.model import CachedRdd, Reuse, RunMetrics, SqlMetrics, StageMetrics
from emrctl.metrics.task_figures import NAMES, RUN_NAMES

_MAX_OPERATORS, _MAX_OPERATOR_CHARS = 12, 60
_MAX_GROUPS, _MAX_STAGES, _MAX_NAME = 5, 10, 200


class _Scope(Struct):
    name: str = ""


class _Rdd(Struct):
    """One of a stage's RDDs: the stage's own is listed first, its ancestors follow."""

    id: int = field(name="RDD ID")
    name: str = field(name="Name", default="")
    parents: list[int] = field(name="Parent IDs", default_factory=list)
    level: StorageLevel = field(name="Storage Level", default_factory=StorageLevel)
    scope: str | None = field(name="Scope", default=None)
    partitions: int = field(name="Number of Partitions", default=0)

    @property
    def operator(self) -> str:
        """Name of the operation that created it, e.g. `Exchange` or `reduceByKey`."""
        try:
            name = _decode_scope(self.scope).name if self.scope else ""
        except msgspec.MsgspecError:
            name = ""
        return (name or self.name)[:_MAX_OPERATOR_CHARS]

    @property
    def persisted(self) -> bool:
        """Whether the job persisted it."""
        return self.level.disk or self.level.memory


_decode_rdds = msgspec.json.Decoder(list[_Rdd]).decode
_decode_scope = msgspec.json.Decoder(_Scope).decode


class Lineage:
    """The stages that computed each RDD; an RDD of a single stage takes two numbers."""

    def __init__(self) -> None:
        self._first_stage: dict[int, int] = {}
        self._stages: dict[int, list[int]] = {}
        self._name_and_is_source: dict[int, tuple[str, bool]] = {}
        self._query: dict[int, int] = {}
        #: Number of RDDs by stage, and the persisted RDDs.
        self.lengths: dict[int, int] = {}
        self.persisted: dict[int, CachedRdd] = {}

    def add_query(self, execution: int, stages: Iterable[int]) -> None:
        """Assign stages to a query: repetitions within a query are part of its plan."""
        self._query.update(dict.fromkeys(stages, execution))

    def add_stage(self, stage_id: int, rdd_info: bytes) -> tuple[str, ...]:
        """Add the first attempt of a stage with its `RDD Info`; return its operators."""
        try:
            rdds = {rdd.id: rdd for rdd in reversed(_decode_rdds(rdd_info))}
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return ()
        self.lengths[stage_id] = len(rdds)
        for rdd in rdds.values():
            if rdd.persisted and rdd.id not in self.persisted:
                self.persisted[rdd.id] = CachedRdd(
                    rdd=rdd.id, name=rdd.name[:_MAX_NAME], partitions=rdd.partitions
                )
        for rdd in _computed(rdds):
            first = self._first_stage.setdefault(rdd.id, stage_id)
            if first == stage_id:
                continue
            if rdd.id not in self._stages:
                self._stages[rdd.id] = [first]
                self._name_and_is_source[rdd.id] = (rdd.name, not rdd.parents)
            self._stages[rdd.id].append(stage_id)
        ordered = sorted(rdds.values(), key=lambda rdd: rdd.id)
        return tuple(dict.fromkeys(rdd.operator for rdd in ordered))[-_MAX_OPERATORS:]

    def reuses(self, stages: Mapping[int, StageMetrics]) -> tuple[Reuse, ...]:
        """Return the most expensive recomputed RDDs, for each group of stages the last one."""
        groups: dict[tuple[int, ...], int] = {}
        for rdd, stage_ids in self._stages.items():
            key = tuple(stage for stage in self._one_per_query(stage_ids) if stage in stages)
            if len(key) > 1:
                groups[key] = max(rdd, groups.get(key, rdd))
        reuses = [self._reuse(rdd, [stages[id_] for id_ in key]) for key, rdd in groups.items()]
        reuses.sort(key=lambda reuse: (-reuse.repeated_time_ms, reuse.rdd))
        return tuple(reuses[:_MAX_GROUPS])

    def _one_per_query(self, stages: Iterable[int]) -> Iterable[int]:
        """Return one stage of each query, and all stages outside queries."""
        return {("query", self._query[s]) if s in self._query else s: s for s in stages}.values()

    def _reuse(self, rdd: int, stages: list[StageMetrics]) -> Reuse:
        name, is_source = self._name_and_is_source[rdd]
        return Reuse(
            rdd=rdd,
            name=name,
            is_source=is_source,
            stages=tuple(stage.id for stage in stages[:_MAX_STAGES]),
            times=len(stages),
            names=tuple(dict.fromkeys(stage.name for stage in stages))[:_MAX_STAGES],
            repeated_input_bytes=_repeated([stage.input_bytes for stage in stages]),
            repeated_time_ms=_repeated([stage.task_time_ms for stage in stages]),
        )


def _repeated(values: list[int]) -> int:
    """Return the upper bound of repeated work: each repetition costs at most the smallest value."""
    return (len(values) - 1) * min(values)


def _computed(rdds: dict[int, _Rdd]) -> Iterable[_Rdd]:
    """Yield the RDDs computed for the first of `rdds`, without the ancestors of persisted ones."""
    waiting = list(rdds)[-1:]
    seen = set(waiting)
    while waiting:
        rdd = rdds.get(waiting.pop())
        if rdd is None or rdd.persisted:
            continue
        yield rdd
        waiting += [parent for parent in rdd.parents if parent not in seen]
        seen.update(rdd.parents)


DRIVER_IDS = frozenset({"driver", "<driver>"})
_PAGE_BITS = 14
_PAGE_SIZE = 1 << _PAGE_BITS
# Spark numbers tasks from 0; a larger id is damage and must not allocate pages.
_MAX_TASK_ID = 1 << 26
_STARTED, _ENDED = 1, 2


class TaskIds:
    """The ids of started and ended tasks, one byte per task."""

    def __init__(self) -> None:
        self.started_twice = 0
        self.ended_twice = 0
        self._pages: dict[int, bytearray] = {}

    def start(self, ids: Iterable[int]) -> None:
        """Mark these tasks as started."""
        self.started_twice += self._mark(ids, _STARTED)

    def end(self, ids: Iterable[int]) -> None:
        """Mark these tasks as ended."""
        self.ended_twice += self._mark(ids, _ENDED)

    @property
    def ended_only(self) -> int:
        """Number of tasks that ended without a start."""
        return self._count(_ENDED)

    @property
    def started_only(self) -> int:
        """Number of tasks that started and did not end."""
        return self._count(_STARTED)

    def _mark(self, ids: Iterable[int], bit: int) -> int:
        marked_before = 0
        pages = self._pages
        for task in ids:
            page = pages.get(task >> _PAGE_BITS)
            if page is None:
                page = self._page(task)
            at = task & (_PAGE_SIZE - 1)
            flags = page[at]
            if flags & bit:
                marked_before += 1
            page[at] = flags | bit
        return marked_before

    def _page(self, task: int) -> bytearray:
        # Invalid ids share one page: collisions are reported as duplicates, which is damage too.
        number = task >> _PAGE_BITS if 0 <= task < _MAX_TASK_ID else -1
        return self._pages.setdefault(number, bytearray(_PAGE_SIZE))

    def _count(self, flags: int) -> int:
        return sum(page.count(flags) for page in self._pages.values())


class EventLogState:
    """Counters by id; `executor_changes` are (time, +1 or -1) in the order of the log."""

    def __init__(self) -> None:
        self.app: ApplicationStart | None = None
        self.spark_version: str | None = None
        self.start_ms: int | None = None
        self.end_ms: int | None = None
        self.environment: dict[str, str] = {}
        self.program: tuple[str, ...] = ()
        self.submit_options: tuple[str, ...] = ()
        self.stages: dict[tuple[int, int], StageTally] = {}
        self.job_of_stage: dict[int, int] = {}
        self.executors: dict[str, ExecutorTally] = {}
        self.jobs: dict[int, str] = {}
        self.sql: dict[int, SqlMetrics] = {}
        self.task_ids = TaskIds()
        self.lineage = Lineage()
        self.plans = PlanOperators()
        self.blocks = CachedBlocks()
        self.stages_of_query: dict[int, list[int]] = {}
        self.peak_executors = 0
        self.malformed = 0
        self.executor_changes: list[tuple[int, int]] = []
        self.ended_only = {"jobs": 0, "queries": 0, "executors": 0}
        self.started_twice = {"jobs": 0, "queries": 0, "executors": 0}

    def stage(self, stage_id: int, attempt: int) -> StageTally:
        """Return the stage attempt, created at its first event."""
        key = (stage_id, attempt)
        stage = self.stages.get(key)
        if stage is None:
            stage = self.stages[key] = StageTally(*key)
        return stage

    def executor(self, executor_id: str, time_ms: int | None) -> ExecutorTally:
        """Return the executor, created at its first event; `time_ms` is the time of the event."""
        executor = self.executors.get(executor_id)
        if executor is None:
            executor = self.executors[executor_id] = ExecutorTally(executor_id, time_ms)
        elif time_ms is not None and not executor.was_added:
            executor.added_ms = min(time_ms, executor.added_ms or time_ms)
        return executor

    def current_metrics(self) -> RunMetrics:
        """Return the metrics of the events so far."""
        stages = tuple(self._stage(self.stages[key]) for key in sorted(self.stages))
        ran = {stage.id for stage in stages}
        statuses = list(self.jobs.values())
        duration_ms = None
        if self.start_ms is not None and self.end_ms is not None:
            duration_ms = self.end_ms - self.start_ms
        return RunMetrics(
            app_id=self.app.id if self.app else None,
            app_attempt=self.app.attempt if self.app else None,
            app_name=self.app.name if self.app else None,
            spark_version=self.spark_version,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            duration_ms=duration_ms,
            jobs=len(statuses),
            jobs_succeeded=statuses.count("SUCCEEDED"),
            jobs_failed=statuses.count("FAILED"),
            **self._stage_totals(),
            peak_executors=self.peak_executors,
            stages=stages,
            executors=tuple(
                self.executors[name].metrics() for name in sorted(self.executors, key=_sort_key)
            ),
            sql=tuple(self._query(query, ran) for _, query in sorted(self.sql.items())),
            reuses=self.lineage.reuses({s.id: s for s in stages if not s.attempt}),
            cached=self.blocks.add_to(self.lineage.persisted),
            environment=self.environment,
            program=self.program,
            submit_options=self.submit_options,
        )

    def _stage(self, stage: StageTally) -> StageMetrics:
        metrics = stage.metrics(self.job_of_stage.get(stage.id))
        return replace(metrics, rdds=self.lineage.lengths.get(stage.id, 0))

    def _query(self, query: SqlMetrics, ran: set[int]) -> SqlMetrics:
        ids = [number for number in self.stages_of_query.get(query.id, ()) if number in ran]
        return self.plans.add_to(replace(query, stages=tuple(sorted(set(ids)))))

    def _stage_totals(self) -> dict[str, Any]:
        stages = self.stages.values()
        statuses = [stage.status for stage in stages]
        counts = {
            "stages_completed": statuses.count("COMPLETE"),
            "stages_failed": statuses.count("FAILED"),
            "tasks_ok": sum(stage.ended[OK] for stage in stages),
            "tasks_failed": sum(stage.ended[FAILED] for stage in stages),
            "tasks_killed": sum(stage.ended[KILLED] for stage in stages),
        }
        figures = {
            name: sum(stage.sums[at] for stage in stages)
            for at, name in enumerate(NAMES)
            if name in RUN_NAMES
        }
        return counts | figures


def _sort_key(executor_id: str) -> tuple[bool, int, str]:
    """Sort the driver first, then numeric ids by value, then others."""
    number = int(executor_id) if executor_id.isdecimal() and len(executor_id) < 19 else 1 << 62
    return (executor_id not in DRIVER_IDS, number, executor_id)
