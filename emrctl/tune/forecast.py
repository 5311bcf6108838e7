"""The configuration that is likely to be fast, before any other one was measured."""

from __future__ import annotations

from collections.abc import Sequence

from emrctl.clusters import sizing
from emrctl.errors import EmrctlError
from emrctl.predict import history
from emrctl.runs.record import Run
from emrctl.runs.submission import find_job
from emrctl.runs.workspace import Workspace
from emrctl.spec import ClusterSpec, SparkSettings
from emrctl.spec.factors import Configuration

SCALES = ("executors", "executor_cores")


def largest(cluster: ClusterSpec, settings: Sequence[SparkSettings]) -> int | None:
    """Return the index of the settings that use most cores of the cluster; None if all use as many.

    Raises `UsageError` if a container exceeds a node's memory.
    """
    used = []
    for item in settings:
        capacity = sizing.container_capacity(cluster, item)
        cores = sizing.effective_conf(cluster, item).number("spark.executor.cores") or 1
        used.append(cores * min(capacity.room, capacity.requested or capacity.room))
    return used.index(max(used)) if len(set(used)) > 1 else None


def predicted(workspace: Workspace, run: Run, candidates: Sequence[Configuration]) -> int | None:
    """Return the index of the candidate that is fastest by a replay of `run`'s task graph.

    Only the number of executors and their cores are replayed. None if the candidates differ in
    neither, if `run` has no readable event log, or if no candidate that the replay does not refuse
    is faster than the run.
    """
    common = find_job(run.job, workspace.config).spec.settings
    merged = [common.merged(item.settings) for item in candidates]
    scales = [tuple(getattr(item, name) for name in SCALES) for item in merged]
    known = [(count, cores) for count, cores in scales if count is not None]
    if len(set(scales)) < 2 or not known:
        return None
    counts = sorted({count for count, _ in known})
    sizes = sorted({cores for _, cores in known if cores is not None})
    try:
        prediction = history.predict_run(workspace, run, counts, sizes)
    except EmrctlError:
        return None
    times = {
        (point.executors, point.cores if sizes else None): point.predicted_wall_s
        for point in prediction.points
        if point.refused is None and point.predicted_wall_s < prediction.observed.wall_s
    }
    left = [at for at, scale in enumerate(scales) if scale in times]
    return min(left, key=lambda at: times[scales[at]], default=None)
