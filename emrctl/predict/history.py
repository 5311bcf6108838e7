"""Runs in the store as sources of predictions: their event logs, other counts, and prices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl import cost
from emrctl.errors import EmrctlError, NotFoundError
from emrctl.metrics.model import RunMetrics
from emrctl.predict import graph, prediction
from emrctl.predict.graph import WorkGraph
from emrctl.predict.prediction import Prediction, Price
from emrctl.runs.record import ClusterFacts, Run
from emrctl.runs.store import Store
from emrctl.runs.workspace import Workspace

if TYPE_CHECKING:
    from emrctl.metrics.eventlog.layout import EventLogFile

# Settings that change the number of executors, not the work.
_COUNT_SETTINGS = frozenset({"executors", "min_executors", "max_executors", "initial_executors"})
_MOST_RUNS = 12


def read_any(files: Iterable[EventLogFile]) -> tuple[RunMetrics, WorkGraph | None]:
    """Return the metrics of the only event log among `files`, and its work if it has any."""
    from emrctl.metrics.eventlog import reader

    run, jobs, tasks = reader.read_jobs(files)
    return run, graph.build(run, jobs, tasks)


def read(files: Iterable[EventLogFile]) -> tuple[RunMetrics, WorkGraph]:
    """Return the metrics of the only event log among `files`, and its work.

    Raises `NotFoundError` if the log has no complete job with tasks.
    """
    run, work = read_any(files)
    if work is None:
        raise NotFoundError(
            "the event log has no completed job with tasks",
            hint="Predictions need the log of a run that completed at least one job.",
        )
    return run, work


def read_path(path: Path) -> tuple[RunMetrics, WorkGraph]:
    """Return the metrics and the work of the event log at `path`: a file, folder or archive."""
    from emrctl.metrics.eventlog import layout

    return read(layout.list_files(path))


def predict_run(
    workspace: Workspace, run: Run, counts: Sequence[int], cores: Sequence[int] = ()
) -> Prediction:
    """Predict a run of the store; other counts of the same work in the store correct it."""
    metrics, work = read(workspace.store.files(run.id).event_log())
    return prediction.predict(
        metrics,
        work,
        counts,
        cores,
        measured_s=measured_in_job_s(workspace.store, run),
        price=price(run.cluster, workspace.project.region, work.executors, counts),
    )


def measured_in_job_s(store: Store, run: Run) -> dict[int, list[float]]:
    """Return the in-job times of other completed runs of the same work by their executors.

    Same work: the same job, code, arguments, environment, target, instance type and settings, apart
    from the number of executors. The newest runs are read; runs without a readable event log are
    ignored.
    """
    measured: defaultdict[int, list[float]] = defaultdict(list)
    for other in islice(_same_work(store, run), _MOST_RUNS):
        try:
            _, work = read(store.files(other.id).event_log())
        except EmrctlError:
            continue
        measured[work.executors].append(work.in_job_s)
    return dict(measured)


def _same_work(store: Store, run: Run) -> Iterator[Run]:
    job = run.id.split("-", 2)[-1].rpartition("-")[0]  # ids contain the job, see `new_id`
    for run_id in reversed(store.ids()):
        if job in run_id and run_id != run.id:
            other = store.load(run_id)
            if other.state == "COMPLETED" and _work(other) == _work(run):
                yield other


def _work(run: Run) -> tuple[Any, ...]:
    settings: Mapping[str, Any] = run.settings
    kept = {
        key: value
        for key, value in settings.items()
        if key not in _COUNT_SETTINGS and value not in (None, {}, [], ())
    }
    # Outputs have the id of the run.
    arguments = tuple(argument.replace(run.id, "") for argument in run.arguments)
    environment = sorted(run.environment.items())
    settings_text = repr(sorted(kept.items()))
    return (
        run.job,
        arguments,
        run.code,
        environment,
        run.target,
        run.cluster.core_type,
        settings_text,
    )


def price(cluster: ClusterFacts, region: str, observed: int, counts: Iterable[int]) -> Price:
    """Return the price per hour of the run's cluster for each number of executors.

    Up to the observed number the cluster stays as it was. For more executors it has more core
    nodes, in proportion, at their on-demand price.
    """
    if not cluster.hourly_usd:
        return Price()
    node_usd = cost.instance_usd(cluster.core_type, region, emr=cluster.id.startswith("j-"))
    hourly_usd: dict[int, float] = {}
    for count in counts:
        more = max(-(-cluster.core_count * count // max(observed, 1)) - cluster.core_count, 0)
        if not more:
            hourly_usd[count] = cluster.hourly_usd
        elif node_usd is not None:
            hourly_usd[count] = cluster.hourly_usd + more * node_usd
    return Price(
        hourly_usd,
        f"cost: {cluster.hourly_usd:.3f} USD per hour, the run's cluster, for up to {observed} "
        f"executors; for more, {cluster.core_type} nodes in proportion at the on-demand price",
    )
