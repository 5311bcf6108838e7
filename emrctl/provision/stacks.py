"""The stacks of a project: their programs, the engine of each, and operations on their state.

`<project>-storage` holds the bucket and outlives clusters; each cluster has one stack,
`<project>-<cluster>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl import bundled
from emrctl.aws.target import EMBEDDED, PULUMI, Target
from emrctl.engine.base import (
    Engine,
    Event,
    ImportedResource,
    Preview,
    Program,
    Report,
    StackResult,
    StackState,
    UpdateSummary,
)
from emrctl.errors import NotFoundError, UsageError
from emrctl.provision.bucket import account_settings, find_bucket
from emrctl.spec import ProjectSpec

_BUCKET_TYPE = "aws:s3/bucket:Bucket"


@dataclass(frozen=True)
class Deployment:
    """A project on one target; `root` is the folder of its emrctl.yaml."""

    spec: ProjectSpec
    target: Target
    root: Path

    @property
    def records(self) -> Path:
        """The folder with records of the target's stacks."""
        return self.root / self.target.state_folder


def no_report(_event: Event) -> None:
    """Discard an engine event."""


# --- programs and engines -------------------------------------------------------------------------


def storage_program(project: ProjectSpec, target: Target) -> Program:
    """Return the Pulumi program of the storage stack."""
    bundled.import_stacks()
    settings = account_settings(target)

    def program() -> None:
        from stacks.program import declare_storage

        declare_storage(project, settings)

    return program


def cluster_program(
    project: ProjectSpec, settings: Mapping[str, str], bucket: str, scripts: Mapping[str, str]
) -> Program:
    """Return the Pulumi program of the cluster stack."""
    bundled.import_stacks()
    settings = dict(settings)

    def program() -> None:
        from stacks.program import declare_cluster

        declare_cluster(project, settings, bucket, scripts)

    return program


def engine_for(deployment: Deployment, stack: str | None = None, name: str | None = None) -> Engine:
    """Return the engine called `name`; default: the one that created `stack`, or the target's.

    AWS uses Pulumi's engine; localhost uses the embedded one unless told otherwise.
    """
    engines = deployment.target.engines
    chosen = name or _recorded_engine(deployment, stack) or engines[0]
    if chosen == PULUMI:
        return _pulumi_engine(deployment)
    if chosen != EMBEDDED:
        raise UsageError(f"unknown engine '{chosen}'", hint=f"Use {EMBEDDED} or {PULUMI}.")
    if chosen not in engines:
        msg = "the embedded engine supports only localhost"
        raise UsageError(msg, hint="Omit --engine: on AWS the engine is pulumi.")
    from emrctl.engine.embedded.engine import EmbeddedEngine

    return EmbeddedEngine(deployment.target, deployment.records)


def _recorded_engine(deployment: Deployment, stack: str | None) -> str | None:
    """Return the engine that created `stack` on this target, if recorded."""
    if stack is None:
        return None
    from emrctl.engine.checkpoint import StateFolder

    state = StateFolder(deployment.records).load(stack)
    return None if state is None or state.is_gone(deployment.target) else state.engine


def _pulumi_engine(deployment: Deployment) -> Engine:
    from emrctl.engine.pulumi.engine import PulumiEngine
    from emrctl.engine.pulumi.state_backend import aws_backend, local_backend

    target, records = deployment.target, deployment.records
    backend = local_backend(records / "pulumi")
    if target.shared:
        backend = aws_backend(deployment.spec.engine, target, deployment.root)
    return PulumiEngine(target, backend, records)


# --- operations on existing stacks ----------------------------------------------------------------


def list_stacks(deployment: Deployment) -> tuple[StackState, ...]:
    """Return the project's stacks that have a state; `gone` marks those of an ended emulator."""
    prefix = f"{deployment.spec.project}-"
    states = engine_for(deployment).stacks()
    return tuple(state for state in states if state.stack.startswith(prefix))


def outputs(deployment: Deployment, *, storage: bool = False) -> Mapping[str, Any]:
    """Return the outputs of the cluster stack, or of the storage stack."""
    return _existing(deployment, storage)[1].outputs


def drift(deployment: Deployment, *, storage: bool = False) -> Preview:
    """Return the differences between the stack's state and AWS; nothing is changed."""
    engine, state = _existing(deployment, storage)
    return engine.drift(state.stack)


def refresh(
    deployment: Deployment, *, storage: bool = False, report: Report = no_report
) -> StackResult:
    """Update the stack's state from AWS; the next `up` changes AWS back to the spec."""
    engine, state = _existing(deployment, storage)
    return engine.refresh(state.stack, report)


def history(deployment: Deployment, *, storage: bool = False) -> tuple[UpdateSummary, ...]:
    """Return the updates of the stack, newest first."""
    engine, state = _existing(deployment, storage)
    return engine.history(state.stack)


def export(deployment: Deployment, *, storage: bool = False) -> dict[str, Any]:
    """Return the stack's state in the format of `pulumi stack import`."""
    engine, state = _existing(deployment, storage)
    return engine.export(state.stack)


def import_bucket(
    deployment: Deployment, *, report: Report = no_report, engine: str | None = None
) -> StackResult:
    """Import the existing bucket of the spec into the storage stack.

    Its settings are unchanged until the next `up`. `NotFoundError` if there is no such bucket.
    """
    spec, target = deployment.spec, deployment.target
    bucket = ImportedResource(type=_BUCKET_TYPE, name="bucket", id=find_bucket(spec, target))
    chosen = engine_for(deployment, spec.storage_stack, engine)
    return chosen.import_resource(spec.storage_stack, storage_program(spec, target), bucket, report)


def _existing(deployment: Deployment, storage: bool) -> tuple[Engine, StackState]:
    """Return the stack's engine and state; `NotFoundError` if the stack does not exist."""
    spec = deployment.spec
    stack = spec.storage_stack if storage else spec.cluster_stack
    engine = engine_for(deployment, stack)
    state = engine.state(stack)
    if state is None or state.gone:
        why = "" if state is None else ": its emulator has ended"
        raise NotFoundError(f"no stack {stack}{why}", hint="Create it with `emrctl up`.")
    return engine, state
