"""All charts of a comparison, in the order of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emrctl.compare import activity, alignment, charts, drawing, run_charts, scaling
from emrctl.compare.comparison import Comparison
from emrctl.compare.drawing import Chart
from emrctl.compare.explain import MAX_CONFIGURATIONS
from emrctl.compare.records import Configuration, RunRecord
from emrctl.errors import UsageError
from emrctl.metrics.model import Quantiles
from emrctl.paths import write_atomically


def build(comparison: Comparison) -> tuple[Chart, ...]:
    """Return the charts for which the runs have data; event logs of typical runs are read."""
    scale = scaling.of_comparison(comparison)
    found = (
        charts.durations(comparison),
        charts.ratios(comparison),
        *_timelines(comparison),
        *_stages(comparison),
        _tasks(comparison),
        charts.speed_up(scale),
        charts.cost(comparison),
    )
    return tuple(chart for chart in found if chart is not None)


def write_png(chosen: tuple[Chart, ...], folder: Path) -> list[Path]:
    """Write each chart to a file in `folder`; return the paths."""
    paths = []
    for chart in chosen:
        path = folder / f"{chart.name}.png"
        try:
            write_atomically(path, drawing.png(chart))
        except OSError as error:
            raise UsageError(
                f"--png {folder}: {error.strerror}", hint="Choose a folder that is writable."
            ) from error
        paths.append(path)
    return paths


def typical(item: Configuration) -> RunRecord | None:
    """Return the run of median duration among those with metrics, completed ones first."""
    for records in (item.completed_records, item.records):
        known = [record for record in records if record.metrics is not None]
        if known:
            known.sort(key=lambda record: record.duration_s or 0.0)
            return known[len(known) // 2]
    return None


def _timelines(comparison: Comparison) -> Iterator[Chart]:
    """Yield the executors of typical runs, and the nodes that they ran on, over the same time."""
    items = []
    for n, item in enumerate(comparison.configurations[:MAX_CONFIGURATIONS]):
        record = typical(item)
        if record is not None and record.metrics is not None:
            found = activity.read(record.metrics, record.event_log)
            if found is not None:
                items.append((n, item.label, record, found))
    until_s = max((found.end_s for *_, found in items), default=0.0)
    for n, label, record, found in items:
        yield run_charts.executors(found, n, label, record.id, until_s)
    for n, label, record, found in items:
        start_ms = record.metrics.start_ms if record.metrics else None
        histories = activity.nodes(record.node_samples(), start_ms or 0, found.end_s)
        if histories:
            yield run_charts.nodes(histories, n, label, record.id, until_s)


def _stages(comparison: Comparison) -> Iterator[Chart]:
    labels = [item.label for item in comparison.configurations]
    for n, compared in comparison.stages[:MAX_CONFIGURATIONS]:
        name = f"stages-{n + 1}"
        yield run_charts.stages(compared, name, labels[comparison.reference], labels[n])


def _tasks(comparison: Comparison) -> Chart | None:
    """Return the task durations of the reference's longest stages in each configuration."""
    order = list(range(len(comparison.configurations)))
    order.insert(0, order.pop(comparison.reference))
    runs = {n: typical(comparison.configurations[n]) for n in order[:MAX_CONFIGURATIONS]}
    chosen = {n: run.metrics for n, run in runs.items() if run and run.metrics}
    if comparison.reference not in chosen:
        return None
    base = alignment.stages(chosen[comparison.reference])
    spreads: dict[int, list[Quantiles | None]] = {stage.id: [] for stage in base}
    for run in chosen.values():
        pairs = alignment.align(base, alignment.stages(run))
        matches = {one.id: two for one, two in pairs if one is not None}
        for stage in base:
            match = matches.get(stage.id)
            spreads[stage.id].append(match.attempts[-1].duration_ms_quantiles if match else None)
    longest = sorted(base, key=lambda stage: -sum(item.task_time_ms for item in stage.attempts))
    rows = [(stage.name, spreads[stage.id]) for stage in longest]
    return run_charts.tasks(rows, [(n, comparison.configurations[n].label) for n in chosen])
