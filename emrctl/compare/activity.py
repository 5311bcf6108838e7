"""Executors and nodes of a run over time, from its event log and samples of the nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from emrctl.aws.spark_conf import SparkConf
from emrctl.metrics.eventlog.layout import EventLogFiles
from emrctl.metrics.live.nodes import NodeHistory, NodeSample, histories
from emrctl.metrics.model import ExecutorMetrics, RunMetrics, TaskMetrics
from emrctl.metrics.timeline import Span, last_known_ms, span_of

BINS = 160
NODE_POINTS = 80


@dataclass(frozen=True, kw_only=True)
class ExecutorActivity:
    """An executor's lifetime in seconds since the application's start, and its load.

    `load` is the mean number of running tasks divided by its task slots, in each of `BINS` parts
    of the application's duration; empty without an event log. `busy` is the mean load.
    """

    executor: ExecutorMetrics
    begin_s: float
    end_s: float
    slots: int
    busy: float
    load: tuple[float, ...] = ()

    @property
    def idle_s(self) -> float:
        """Seconds of its lifetime times the share of its slots without a task."""
        return (self.end_s - self.begin_s) * max(0.0, 1 - self.busy)


@dataclass(frozen=True, kw_only=True)
class Activity:
    """All executors of a run; `end_s` is the duration of the application."""

    executors: tuple[ExecutorActivity, ...]
    end_s: float

    @property
    def busy(self) -> float:
        """Share of the executors' task slots that were used, over their lifetimes."""
        available = sum(item.slots * (item.end_s - item.begin_s) for item in self.executors)
        used = sum(item.slots * (item.end_s - item.begin_s) * item.busy for item in self.executors)
        return used / available if available else 0.0


def read(run: RunMetrics, event_log: Callable[[], EventLogFiles]) -> Activity | None:
    """Return the activity of the executors of `run`, with loads if its event log can be read.

    None if the times of the application or of all executors are not known.
    """
    end = last_known_ms(run)
    if run.start_ms is None or end is None or end <= run.start_ms:
        return None
    span = run.start_ms, end
    loads = _loads(event_log, span)
    slots_of = SparkConf(run.environment).slots
    executors = []
    for row in run.busy_rows:
        life = span_of(row, run)
        if life is None:
            continue
        slots, length_ms = max(1, slots_of(row.cores)), life[1] - life[0]
        executors.append(
            ExecutorActivity(
                executor=row,
                begin_s=(life[0] - span[0]) / 1000,
                end_s=(life[1] - span[0]) / 1000,
                slots=slots,
                busy=row.task_time_ms / (slots * length_ms) if length_ms else 0.0,
                load=tuple(
                    tasks / slots for tasks in loads.get(row.id, [0.0] * BINS if loads else [])
                ),
            )
        )
    return Activity(executors=tuple(executors), end_s=(end - span[0]) / 1000) if executors else None


def _loads(event_log: Callable[[], EventLogFiles], span: Span) -> dict[str, Sequence[float]]:
    """Return the mean number of running tasks of each executor in each bin."""
    from emrctl.errors import EmrctlError
    from emrctl.metrics.eventlog import reader

    loads: dict[str, list[float]] = {}
    width = (span[1] - span[0]) / BINS

    def add(task: TaskMetrics) -> None:
        bins = loads.setdefault(task.executor, [0.0] * BINS)
        begin, end = ((at - span[0]) / width for at in (task.launched_ms, task.finished_ms))
        begin, end = max(0.0, begin), min(float(BINS), end)
        first, last = int(begin), min(int(end), BINS - 1)
        for at in range(first, last + 1):
            bins[at] += max(0.0, min(end, at + 1) - max(begin, at))

    try:
        reader.read_log(event_log(), on_task=add)
    except EmrctlError:
        return {}  # the page shows lifetimes without it
    return dict(loads)


@dataclass(frozen=True, kw_only=True)
class NodeActivity:
    """A node at the times of its samples, in seconds since the application's start.

    `cpu` is the share of its cores, `memory` and `allocated` the share of its memory for YARN;
    `cpu` and `memory` are empty if they are not measured, as on standalone clusters.
    """

    id: str
    cores: int
    memory_mb: int
    at_s: tuple[float, ...]
    cpu: tuple[float, ...]
    memory: tuple[float, ...]
    allocated: tuple[float, ...]


def nodes(samples: Sequence[NodeSample], start_ms: int, end_s: float) -> list[NodeActivity]:
    """Return the nodes that have at least two samples between the application's start and end.

    Each has up to `NODE_POINTS` points, the means of successive samples.
    """
    during = [item for item in samples if 0 <= item.at_ms - start_ms <= 1000 * end_s]
    found = []
    for item in histories(during):
        if len(item.at_ms) < 2:
            continue
        cores, memory_mb = max(1, item.cores), max(1, item.memory_total_mb)
        found.append(
            NodeActivity(
                id=item.id,
                cores=cores,
                memory_mb=memory_mb,
                at_s=tuple((at - start_ms) / 1000 for at in item.at_ms[:: _group(item)]),
                cpu=_shares(item.cpu_cores, cores, _group(item)),
                memory=_shares(item.physical_mb, memory_mb, _group(item)),
                allocated=_shares(item.allocated_mb, memory_mb, _group(item)),
            )
        )
    return found


def _group(item: NodeHistory) -> int:
    """Return how many samples become one point."""
    return -(-len(item.at_ms) // NODE_POINTS)


def _shares(values: Sequence[float | None], whole: int, group: int) -> tuple[float, ...]:
    if all(value is None for value in values):
        return ()
    shares = [(value or 0.0) / whole for value in values]
    return tuple(fmean(shares[at : at + group]) for at in range(0, len(shares), group))
