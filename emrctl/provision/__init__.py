"""Bucket and clusters of a project: wanted, brought about, stopped and started, observed.

A project has two kinds of stack: `<project>-storage` with the bucket, which outlives clusters,
and one `<project>-<cluster>` for each cluster. What stands is asked of AWS, where tags are the
registry; what a stack holds is the engine's to know.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl import bundled
from emrctl.aws.s3 import CODE_PREFIX, prepare_event_logs, put_file
from emrctl.aws.translate import translated
from emrctl.clusters import ec2_inputs
from emrctl.clusters.registry import Cluster, Node, find_cluster, list_clusters, show
from emrctl.clusters.stop_start import end_workers, start, stop, woken
from emrctl.cost.estimate import estimate_within_limit
from emrctl.engine.base import Engine, Event, Outcome, Plan, Report
from emrctl.errors import NotFoundError, ProvisioningError
from emrctl.provision import preflight
from emrctl.provision.bucket import bucket_name, empty, find_bucket, settings
from emrctl.provision.engines import engine_for, stacks
from emrctl.provision.programs import cluster_program, storage_program
from emrctl.provision.stack_operations import adopt, drift, export, history, outputs, refresh
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target

__all__ = [
    "Cluster",
    "Node",
    "adopt",
    "bucket_name",
    "down",
    "drift",
    "end_workers",
    "engine_for",
    "export",
    "find_bucket",
    "find_cluster",
    "history",
    "list_clusters",
    "outputs",
    "preview",
    "quiet",
    "refresh",
    "scripts_of",
    "show",
    "stacks",
    "start",
    "stop",
    "up",
]


def quiet(_event: Event) -> None:
    """A report that tells nobody."""


def preview(
    project: ProjectSpec, target: Target, root: Path, *, engine: str | None = None
) -> tuple[Plan, Plan]:
    """What `up` would do to the storage stack and to the cluster's, with what the latter costs.

    What ended by itself is a `create` whose keys are `("state",)`, what stands still and would be
    started an `update` with the same.
    """
    below, above = _engines(project, target, root, engine)
    cost = estimate_within_limit(project)
    project = preflight.ready(project, target)
    bucket = bucket_name(project, target)
    scripts = {script: _address(root, bucket, script) for script in _scripts(project)}
    storage = below.preview(project.storage_stack, storage_program(project, target))
    known = settings(target) | ec2_inputs.settings(project, target, make=False)
    program = cluster_program(project, known, bucket, scripts)
    cluster = woken(project, target, above.preview(project.cluster_stack, program))
    priced = dataclasses.replace(
        cluster,
        ec2_usd=cost.ec2_usd,
        emr_usd=cost.emr_usd,
        other_usd=cost.other_usd,
        prices=cost.source,
    )
    return storage, priced


def up(
    project: ProjectSpec,
    target: Target,
    root: Path,
    *,
    report: Report = quiet,
    engine: str | None = None,
) -> Cluster:
    """Bucket and cluster are as the spec says, and the cluster takes steps.

    EC2 instances run then, and nothing on them: what they are for comes over SSH. Stopped ones
    are started. Nothing is done where nothing differs. `ProvisioningError` says what failed and
    what stands; calling again goes on from there.
    """
    below, above = _engines(project, target, root, engine)
    estimate_within_limit(project)
    project = preflight.ready(project, target)
    files = {script: _local(root, script) for script in _scripts(project)}
    storage = storage_program(project, target)
    if not _stands(below, project.storage_stack, storage):
        below.up(project.storage_stack, storage, report)
    bucket = bucket_name(project, target)
    with translated(f"staging bootstrap scripts in {bucket}"):
        prepare_event_logs(target, bucket)
        scripts = {name: put_file(target, bucket, file) for name, file in files.items()}
    known = settings(target) | ec2_inputs.settings(project, target)
    above.up(project.cluster_stack, cluster_program(project, known, bucket, scripts), report)
    found = find_cluster(project, target)
    return start(project, target) if found.stopped else found


def down(
    project: ProjectSpec,
    target: Target,
    root: Path,
    *,
    storage: bool = False,
    report: Report = quiet,
) -> Outcome:
    """The cluster's stack is gone; with `storage` the bucket's instead, and all that is in it.

    The bucket stays as long as a cluster works on it: `ProvisioningError` names them.
    """
    stack = project.storage_stack if storage else project.cluster_stack
    chosen = engine_for(project, target, root, None, stack)
    if not storage:
        return chosen.down(project.cluster_stack, report)
    _refuse_in_use(project, target, chosen)
    state = chosen.state(project.storage_stack)
    if state is not None and not state.gone:
        empty(target, str(state.outputs.get("bucket") or bucket_name(project, target)))
    return chosen.down(project.storage_stack, report, force=True)


def _engines(
    project: ProjectSpec, target: Target, root: Path, name: str | None
) -> tuple[Engine, Engine]:
    """Who works on the storage stack, and who on the cluster's."""
    stacks_of = (project.storage_stack, project.cluster_stack)
    below, above = (engine_for(project, target, root, name, stack) for stack in stacks_of)
    return below, above


def _stands(engine: Engine, stack: str, program: Any) -> bool:
    """Whether there is nothing to do, found out without the stack's lock.

    Two clusters of a project may come up at the same time, and both look at the bucket first.
    """
    state = engine.state(stack)
    return state is not None and not state.gone and engine.preview(stack, program).empty


def _scripts(project: ProjectSpec) -> list[str]:
    """What EMR fetches from S3; EC2 instances get theirs over SSH."""
    if project.cluster.kind == "ec2":
        return []
    return sorted({action.script for action in project.bootstrap_actions})


def scripts_of(project: ProjectSpec, root: Path) -> dict[str, str]:
    """Where each bootstrap script of the spec lies now, by its name there: a file, or on S3."""
    names = {action.script for action in project.bootstrap_actions}
    return {name: _local(root, name) for name in sorted(names)}


def _local(root: Path, script: str) -> str:
    """A script's file: the user's own, else ours of that name; an `s3://` address as it is."""
    if script.startswith("s3://"):
        return script
    ours = bundled.root() / "bootstrap"
    for path in (root / Path(script).expanduser(), ours / script):
        if path.is_file():
            return str(path)
    known = ", ".join(sorted(path.name for path in ours.glob("*.sh")))
    hint = f"Ours are {known}; a path counts from {root}."
    raise NotFoundError(f"there is no bootstrap script '{script}'", hint=hint)


def _address(root: Path, bucket: str, script: str) -> str:
    """Where `put_file` would put the script, without putting it there."""
    found = _local(root, script)
    if found.startswith("s3://"):
        return found
    path = Path(found)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return f"s3://{bucket}/{CODE_PREFIX}{digest}/{path.name}"


def _refuse_in_use(project: ProjectSpec, target: Target, engine: Engine) -> None:
    stacks_here = {
        state.stack
        for state in engine.stacks()
        if state.resources and not state.gone and state.stack != project.storage_stack
    }
    prefix = f"{project.project}-"
    running = {cluster.stack for cluster in list_clusters(project, target)}
    users = sorted(stack for stack in stacks_here | running if stack.startswith(prefix))
    if users:
        names = ", ".join(stack.removeprefix(prefix) for stack in users)
        hint = f"Take it down first: `emrctl down --cluster {users[0].removeprefix(prefix)}`."
        raise ProvisioningError(f"the bucket is in use by cluster {names}", hint=hint)
