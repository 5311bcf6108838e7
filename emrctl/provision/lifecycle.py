"""The lifecycle of a project's clusters: preview, up, stop, start, down.

EMR configures its own nodes. EC2 instances boot without Spark: emrctl installs it over SSH, and
drains workers before it terminates them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emrctl import bundled
from emrctl.aws import rules
from emrctl.aws.errors import translated
from emrctl.aws.s3 import code_uri, prepare_event_logs, put_file
from emrctl.aws.target import Target
from emrctl.clusters import bootstrap_logs, stop_start
from emrctl.clusters.model import Cluster
from emrctl.clusters.registry import find_cluster, kind_of, list_clusters
from emrctl.clusters.stop_start import NodeReport, no_node_report
from emrctl.cost import estimate_within_limit
from emrctl.engine.base import Engine, Preview, Program, Report, StackResult
from emrctl.errors import EmrctlError, NotFoundError, ProvisioningError, SpecError, UsageError
from emrctl.provision import preflight
from emrctl.provision.bucket import account_settings, bucket_name, empty_bucket
from emrctl.provision.stacks import (
    Deployment,
    cluster_program,
    engine_for,
    no_report,
    storage_program,
)
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.standalone import NodesFailedError


def preview(deployment: Deployment, *, engine: str | None = None) -> tuple[Preview, Preview]:
    """Return the plans of `up` for the storage and the cluster stack, with hourly costs.

    An instance or cluster that was terminated outside emrctl is a `create` with keys
    `("state",)`; a stopped instance, which `up` would start, an `update` with the same keys.
    """
    storage_engine, cluster_engine = _engines(deployment, engine)
    cost = estimate_within_limit(deployment.spec)
    target, project = deployment.target, preflight.prepare(deployment.spec, deployment.target)
    bucket = bucket_name(project, target)
    files = _staged_files(project, deployment.root)
    scripts = {name: code_uri(bucket, file) for name, file in files.items()}
    storage = storage_engine.preview(project.storage_stack, storage_program(project, target))
    settings = _program_settings(project, target, create_key=False)
    program = cluster_program(project, settings, bucket, scripts)
    plan = cluster_engine.preview(project.cluster_stack, program)
    priced = dataclasses.replace(
        stop_start.mark_stopped(project, target, plan),
        ec2_usd=cost.ec2_usd,
        emr_usd=cost.emr_usd,
        other_usd=cost.other_usd,
        prices=cost.source,
    )
    return storage, priced


def up(
    deployment: Deployment,
    *,
    engine: str | None = None,
    replace_workers: Sequence[str] = (),
    skip_failed: bool = False,
    report: Report = no_report,
    node_report: NodeReport = no_node_report,
) -> Cluster:
    """Create or update the bucket and the cluster until the cluster accepts steps.

    Workers of EC2 in `replace_workers` are terminated and created again. With `skip_failed`
    workers that fail to set up are terminated until the next `up`, instead of raising
    `NodesFailedError`. After a failure or an interrupt, calling again continues.
    """
    project, target = deployment.spec, deployment.target
    if replace_workers:
        stop_start.terminate_workers(project, target, replace_workers, report=node_report)
    _drain_removed_workers(deployment, node_report)
    cluster = deploy(deployment, report=report, engine=engine)
    return _set_up(deployment, cluster, node_report, skip_failed=skip_failed)


def deploy(
    deployment: Deployment, *, report: Report = no_report, engine: str | None = None
) -> Cluster:
    """Create or update both stacks and start stopped instances; EC2 instances have no Spark yet.

    `ProvisioningError` names the resource that failed and the existing ones.
    """
    storage_engine, cluster_engine = _engines(deployment, engine)
    estimate_within_limit(deployment.spec)
    target, project = deployment.target, preflight.prepare(deployment.spec, deployment.target)
    files = _staged_files(project, deployment.root)
    storage = storage_program(project, target)
    if not _up_to_date(storage_engine, project.storage_stack, storage):
        storage_engine.up(project.storage_stack, storage, report)
    bucket = bucket_name(project, target)
    with translated(f"staging bootstrap scripts in {bucket}"):
        prepare_event_logs(target, bucket)
        scripts = {name: put_file(target, bucket, file) for name, file in files.items()}
    settings = _program_settings(project, target, create_key=True)
    program = cluster_program(project, settings, bucket, scripts)
    try:
        cluster_engine.up(project.cluster_stack, program, report)
    except ProvisioningError as error:
        raise _with_bootstrap_log(error, project, target) from error
    cluster = find_cluster(project, target)
    return stop_start.start_instances(project, target) if cluster.stopped else cluster


def _with_bootstrap_log(
    error: ProvisioningError, project: ProjectSpec, target: Target
) -> ProvisioningError:
    """Return the error, with the last lines of the bootstrap action that it reports."""
    if "BOOTSTRAP_FAILURE" not in error.message:
        return error
    try:
        lines = bootstrap_logs.last_lines(project, target)
    except EmrctlError:  # the cluster's failure is more important than that of its log
        lines = ()
    if not lines:
        return error
    text = "".join(f"\n  {line}" for line in lines)
    hint = f"Print the log with `emrctl logs --bootstrap`. {error.hint}".rstrip()
    return ProvisioningError(f"{error.message}{text}", hint=hint)


def stop(deployment: Deployment, *, node_report: NodeReport = no_node_report) -> Cluster:
    """Stop the cluster's EC2 instances: volumes are kept, running steps are INTERRUPTED."""
    return stop_start.stop_instances(deployment.spec, deployment.target, report=node_report)


def start(deployment: Deployment, *, node_report: NodeReport = no_node_report) -> Cluster:
    """Start the cluster's stopped EC2 instances, at new addresses, and Spark on them."""
    spec, target = deployment.spec, deployment.target
    cluster = stop_start.start_instances(spec, target, report=node_report)
    return _set_up(deployment, cluster, node_report)


def down(
    deployment: Deployment, *, storage: bool = False, report: Report = no_report
) -> StackResult:
    """Delete the cluster stack, or with `storage` the storage stack and all objects.

    EMR protects clusters with three primaries from termination: with `termination_protection:
    false` that is turned off first. `ProvisioningError` if clusters still use the bucket.
    """
    project, target = deployment.spec, deployment.target
    stack = project.storage_stack if storage else project.cluster_stack
    engine = engine_for(deployment, stack)
    if not storage:
        with translated("turning off termination protection"):
            kind_of(project.cluster).allow_termination(project, target)
        return engine.down(stack, report)
    _refuse_used_bucket(project, target, engine)
    state = engine.state(stack)
    if state is not None and not state.gone:
        empty_bucket(target, str(state.outputs.get("bucket") or bucket_name(project, target)))
    return engine.down(stack, report, force=True)


def find_ssh_cluster(deployment: Deployment) -> Cluster:
    """Return the cluster if SSH reaches all its nodes; `UsageError` if it is EMR's."""
    cluster = find_cluster(deployment.spec, deployment.target)
    if not kind_of(cluster.spec).set_up_over_ssh:
        local = deployment.target.emr_nodes_are_folders
        hint = (
            "Run commands on all nodes with a bootstrap action, or use a cluster of kind ec2."
            if local
            else "`emrctl ssh NODE -- COMMAND` connects to one node."
        )
        reason = "its nodes have no SSH server" if local else "only its primary accepts SSH"
        msg = f"'{cluster.name}' is an EMR cluster: {reason}"
        raise UsageError(msg, hint=hint)
    return cluster


# --- Spark on EC2 instances -----------------------------------------------------------------------


def _set_up(
    deployment: Deployment, cluster: Cluster, report: NodeReport, *, skip_failed: bool = False
) -> Cluster:
    """Install and start Spark on EC2 instances; EMR does that itself."""
    if not kind_of(cluster.spec).set_up_over_ssh:
        return cluster
    from emrctl import standalone

    project, target = deployment.spec, deployment.target
    scripts = script_files(project, deployment.root)
    try:
        standalone.set_up(project, target, cluster, scripts, report)
    except standalone.NodesFailedError as failed:
        if not skip_failed:
            raise
        cluster = _terminate_failed(deployment, cluster, failed, report)
        standalone.set_up(project, target, cluster, scripts, report)
    return find_cluster(project, target)


def _terminate_failed(
    deployment: Deployment, cluster: Cluster, failed: NodesFailedError, report: NodeReport
) -> Cluster:
    """Terminate the failed workers; raise `failed` if the primary or all workers failed."""
    project, target = deployment.spec, deployment.target
    workers = {node.name for node in cluster.nodes if node.role == "worker"}
    if not failed.failures.keys() < workers:
        raise failed
    lost = sorted(failed.failures)
    for name in lost:
        what = failed.failures[name].what
        report(name, f"terminated: {what}; the next `emrctl up` creates it again")
    stop_start.terminate_workers(project, target, lost, report=report)
    return find_cluster(project, target)


def _drain_removed_workers(deployment: Deployment, report: NodeReport) -> None:
    """Drain the EC2 workers that the spec no longer includes."""
    project, target = deployment.spec, deployment.target
    if not kind_of(project.cluster).set_up_over_ssh:
        return
    from emrctl import standalone

    try:
        cluster = find_cluster(project, target)
    except NotFoundError:
        return
    if kind_of(cluster.spec).set_up_over_ssh and not cluster.stopped:
        standalone.drain_removed(project, target, cluster, report)


# --- stacks and bootstrap scripts -----------------------------------------------------------------


def _engines(deployment: Deployment, name: str | None) -> tuple[Engine, Engine]:
    """Return the engines of the storage and the cluster stack."""
    spec = deployment.spec
    storage = engine_for(deployment, spec.storage_stack, name)
    return storage, engine_for(deployment, spec.cluster_stack, name)


def _program_settings(project: ProjectSpec, target: Target, *, create_key: bool) -> dict[str, str]:
    kind = kind_of(project.cluster)
    return account_settings(target) | kind.program_settings(project, target, create_key)


def _up_to_date(engine: Engine, stack: str, program: Program) -> bool:
    """Return whether `up` would change nothing, without locking the stack.

    Two clusters of a project may be created at the same time; both check the bucket first.
    """
    state = engine.state(stack)
    return state is not None and not state.gone and engine.preview(stack, program).empty


def _refuse_used_bucket(project: ProjectSpec, target: Target, engine: Engine) -> None:
    states = {
        state.stack
        for state in engine.stacks()
        if state.resources and not state.gone and state.stack != project.storage_stack
    }
    prefix = f"{project.project}-"
    running = {cluster.stack for cluster in list_clusters(project, target)}
    users = sorted(stack for stack in states | running if stack.startswith(prefix))
    if users:
        names = ", ".join(stack.removeprefix(prefix) for stack in users)
        hint = f"Delete it first: `emrctl down --cluster {users[0].removeprefix(prefix)}`."
        raise ProvisioningError(f"the bucket is in use by cluster {names}", hint=hint)


def script_files(project: ProjectSpec, root: Path) -> dict[str, str]:
    """Return the file or S3 URI of each bootstrap script of the spec, by name."""
    names = {action.script for action in project.bootstrap_actions}
    return {name: _script_file(root, name) for name in sorted(names)}


def _staged_files(project: ProjectSpec, root: Path) -> dict[str, str]:
    """Return the scripts that EMR downloads from S3; on EC2 emrctl copies them over SSH."""
    return {} if kind_of(project.cluster).set_up_over_ssh else script_files(project, root)


def _script_file(root: Path, script: str) -> str:
    """Return the user's file, or the bundled script of that name; S3 URIs are unchanged.

    Raises `SpecError` for a file that nodes cannot run.
    """
    if script.startswith("s3://"):
        return script
    folder = bundled.root() / "bootstrap"
    for path in (root / Path(script).expanduser(), folder / script):
        if path.is_file():
            fault = rules.script_fault(path.read_bytes())
            if fault:
                hint = "Add the line, or convert the file with `sed -i 's/\\r$//' FILE`."
                raise SpecError(f"{script}:{fault[0]}: {fault[1]}", hint=hint)
            return str(path)
    names = ", ".join(sorted(path.name for path in folder.glob("*.sh")))
    hint = f"Bundled scripts: {names}. Other paths are relative to {root}."
    raise NotFoundError(f"no bootstrap script '{script}'", hint=hint)
