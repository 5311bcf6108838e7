"""Bucket and clusters of a project: wanted, brought about, observed.

A project has two kinds of stack: `<project>-storage` with the bucket, which outlives clusters,
and one `<project>-<cluster>` for each cluster. What stands is asked of AWS, where tags are the
registry; what a stack holds is the engine's to know.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl import bundled, costs, preflight, staging
from emrctl.engine.base import Engine, Event, Outcome, Plan, Report, StackState
from emrctl.engine.failures import translated
from emrctl.errors import NotFoundError, ProvisioningError
from emrctl.provision.observed import Cluster, Node, find_cluster, list_clusters, show
from emrctl.specs import ProjectSpec

if TYPE_CHECKING:
    from emrctl.target import Target

__all__ = [
    "Cluster",
    "Node",
    "bucket_name",
    "down",
    "engine_for",
    "find_bucket",
    "find_cluster",
    "list_clusters",
    "preview",
    "quiet",
    "show",
    "stacks",
    "up",
]

STATES = Path(".emrctl") / "stacks"
_DELETE_AT_ONCE = 1000


def quiet(_event: Event) -> None:
    """A report that tells nobody."""


def engine_for(project: ProjectSpec, target: Target, root: Path, name: str | None = None) -> Engine:
    """The engine called `name`, by default the target's own; its states lie below `root`."""
    if target.kind == "local" and name in {None, "embedded"}:
        from emrctl.engine.embedded import EmbeddedEngine

        return EmbeddedEngine(target, root / STATES)
    what = f"the engine '{name}'" if name else "an engine for AWS"
    hint = "Set `target: local` in emrctl.yaml: its engine is 'embedded'."
    raise ProvisioningError(f"{project.project}: this emrctl has not got {what}", hint=hint)


def bucket_name(project: ProjectSpec, target: Target) -> str:
    """The name that the project's bucket has, or will have."""
    bundled.import_stacks()
    from stacks import names

    return names.bucket(project, _settings(target))


def find_bucket(project: ProjectSpec, target: Target) -> str:
    """The name of the project's bucket; `NotFoundError` where it is not there."""
    name = bucket_name(project, target)
    if _bucket_exists(target, name):
        return name
    hint = "Make it with `emrctl up`."
    raise NotFoundError(f"project {project.project} has no bucket yet ({name})", hint=hint)


def preview(
    project: ProjectSpec, target: Target, root: Path, *, engine: str | None = None
) -> tuple[Plan, Plan]:
    """What `up` would do to the storage stack and to the cluster's, with what the latter costs.

    A cluster that ended by itself is a `create` whose keys are `("state",)`.
    """
    chosen = engine_for(project, target, root, engine)
    project = preflight.ready(project, target)
    bucket = bucket_name(project, target)
    scripts = {script: _address(root, bucket, script) for script in _scripts(project)}
    storage = chosen.preview(project.storage_stack, _storage(project, target))
    program = _cluster(project, target, bucket, scripts)
    cluster = chosen.preview(project.cluster_stack, program)
    cost = costs.estimate(project)
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

    Nothing is done where nothing differs. `ProvisioningError` says what failed and what stands;
    calling again goes on from there.
    """
    chosen = engine_for(project, target, root, engine)
    project = preflight.ready(project, target)
    files = {script: _local(root, script) for script in _scripts(project)}
    storage = _storage(project, target)
    if not _stands(chosen, project.storage_stack, storage):
        chosen.up(project.storage_stack, storage, report)
    bucket = bucket_name(project, target)
    with translated(f"staging bootstrap scripts in {bucket}"):
        staging.prepare_event_logs(target, bucket)
        scripts = {name: staging.put_file(target, bucket, file) for name, file in files.items()}
    chosen.up(project.cluster_stack, _cluster(project, target, bucket, scripts), report)
    return find_cluster(project, target)


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
    chosen = engine_for(project, target, root)
    if not storage:
        return chosen.down(project.cluster_stack, report)
    _refuse_in_use(project, target, chosen)
    state = chosen.state(project.storage_stack)
    if state is not None and not state.gone:
        _empty(target, str(state.outputs.get("bucket") or bucket_name(project, target)))
    return chosen.down(project.storage_stack, report, force=True)


def stacks(project: ProjectSpec, target: Target, root: Path) -> tuple[StackState, ...]:
    """The project's stacks that have a state here; those of an emulator that ended are `gone`."""
    every = engine_for(project, target, root).stacks()
    return tuple(state for state in every if state.stack.startswith(f"{project.project}-"))


def _settings(target: Target) -> dict[str, str]:
    return {"account": target.account(), "region": target.region}


def _storage(project: ProjectSpec, target: Target) -> Any:
    bundled.import_stacks()
    settings = _settings(target)

    def program() -> None:
        from stacks import program as declared

        declared.storage(project, settings)

    return program


def _cluster(project: ProjectSpec, target: Target, bucket: str, scripts: Mapping[str, str]) -> Any:
    bundled.import_stacks()
    settings = _settings(target)

    def program() -> None:
        from stacks import program as declared

        declared.cluster(project, settings, {"bucket": bucket}, scripts)

    return program


def _stands(engine: Engine, stack: str, program: Any) -> bool:
    """Whether there is nothing to do, found out without the stack's lock.

    Two clusters of a project may come up at the same time, and both look at the bucket first.
    """
    state = engine.state(stack)
    return state is not None and not state.gone and engine.preview(stack, program).empty


def _scripts(project: ProjectSpec) -> list[str]:
    return sorted({action.script for action in project.cluster.bootstrap})


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
    """Where `staging.put_file` would put the script, without putting it there."""
    found = _local(root, script)
    if found.startswith("s3://"):
        return found
    path = Path(found)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return f"s3://{bucket}/{staging.CODE_PREFIX}{digest}/{path.name}"


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


def _bucket_exists(target: Target, name: str) -> bool:
    from emrctl.engine.kind import absent

    with translated(f"looking for the bucket {name}"):
        s3 = target.client("s3")
        return absent(lambda: s3.head_bucket(Bucket=name), "404", "NoSuchBucket") is not None


def _empty(target: Target, bucket: str) -> None:
    """No object, version or delete marker is left in the bucket."""
    if not _bucket_exists(target, bucket):
        return
    s3 = target.client("s3")
    with translated(f"emptying {bucket}"):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            items = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            keys = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
            for start in range(0, len(keys), _DELETE_AT_ONCE):
                part = {"Objects": keys[start : start + _DELETE_AT_ONCE], "Quiet": True}
                refused = s3.delete_objects(Bucket=bucket, Delete=part).get("Errors", [])
                if refused:
                    first = f"{refused[0].get('Key')}: {refused[0].get('Message')}"
                    msg = f"{len(refused)} objects of {bucket} stay ({first})"
                    raise ProvisioningError(msg, hint="Run `emrctl down --storage` again.")
