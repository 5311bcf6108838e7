"""Runs a search: which configurations can run, the first ones, and the trials."""

from __future__ import annotations

from collections.abc import Sequence

from emrctl.clusters import sizing
from emrctl.errors import UsageError
from emrctl.runs import lifecycle
from emrctl.runs.experiment_state import locked
from emrctl.runs.submission import find_job
from emrctl.runs.trial_clusters import TrialClusters
from emrctl.runs.trials import TrialReport, TrialRunner
from emrctl.runs.workspace import Workspace
from emrctl.spec import ClusterSpec, ExperimentSpec
from emrctl.spec.factors import Configuration
from emrctl.tune import Goal, forecast
from emrctl.tune.trials import DEFAULT, TuneOptions, TuneTrials


def run(
    workspace: Workspace, spec: ExperimentSpec, report: TrialReport, options: TuneOptions
) -> TuneTrials:
    """Search, and return the trials with their results; the same call continues a search.

    Configurations whose containers no node has room for are left out. Clusters that the search
    created are deleted, also after an error or an interrupt.
    """
    with locked(workspace, spec.name):
        clusters = TrialClusters(workspace, spec.name, report.note, keep=options.keep)
        trials = plan(workspace, spec, clusters, report, options)
        if not options.fresh:
            trials.adopt(workspace, lifecycle.refresh_all(workspace))
        TrialRunner(workspace, clusters, report, options.parallel or spec.parallel).run(trials)
    return trials


def plan(
    workspace: Workspace,
    spec: ExperimentSpec,
    clusters: TrialClusters,
    report: TrialReport,
    options: TuneOptions,
) -> TuneTrials:
    """Return the trials of a search over the configurations that fit, before any run.

    Raises `UsageError` with the first reason if none fits.
    """
    common = find_job(spec.job, workspace.config).spec.settings
    fitting, reasons = [], []
    for item in spec.combinations:
        try:
            sizing.check_fits(clusters.check(item.cluster).cluster, common.merged(item.settings))
            fitting.append(item)
        except UsageError as error:
            reasons.append(f"{item.name}: {error.message}")
    if not fitting:
        hint = "Set smaller values in `factors`."
        raise UsageError(f"none of {len(reasons)} configurations fits: {reasons[0]}", hint=hint)
    if reasons:
        report.note(f"{len(reasons)} configurations do not fit and are left out: {reasons[0]}")
    default, cluster = _default(spec, fitting), workspace.project.cluster
    if options.goal == Goal.cost or any(item.cluster for item in fitting):
        return TuneTrials(spec, fitting, options, default=default)
    settings = [common.merged(item.settings) for item in fitting]
    likely = forecast.largest(cluster, settings) if isinstance(cluster, ClusterSpec) else None
    return TuneTrials(
        spec,
        fitting,
        options,
        default=default,
        likely=likely,
        predict=lambda run: forecast.predicted(workspace, run, fitting),
    )


def _default(spec: ExperimentSpec, candidates: Sequence[Configuration]) -> Configuration | None:
    """Return the job as it is configured; None if it is a candidate or lacks an argument."""
    needed = [name for name in spec.factors if name.startswith("args.") and "{" in str(spec.args)]
    if spec.configurations or needed:
        return None
    item = spec.combine({}, DEFAULT)
    same = (item.settings, item.args, item.env, item.cluster)
    if any((c.settings, c.args, c.env, c.cluster) == same for c in candidates):
        return None
    return item
