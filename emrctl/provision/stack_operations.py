"""Stacks that stand: looked at, compared with AWS, taken over, given away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emrctl.engine.base import Adopted, Engine, Event, Outcome, Past, Plan, Report, StackState
from emrctl.errors import NotFoundError
from emrctl.provision.bucket import find_bucket
from emrctl.provision.engines import engine_for
from emrctl.provision.programs import storage_program
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target

BUCKET = "aws:s3/bucket:Bucket"


def _quiet(_event: Event) -> None:
    """A report that tells nobody."""


def outputs(
    project: ProjectSpec, target: Target, root: Path, *, storage: bool = False
) -> Mapping[str, Any]:
    """What the cluster's program exported, with `storage` the bucket's."""
    return _standing(project, target, root, storage)[1].outputs


def drift(project: ProjectSpec, target: Target, root: Path, *, storage: bool = False) -> Plan:
    """Where AWS is no longer as the stack's state says; nothing is changed."""
    engine, state = _standing(project, target, root, storage)
    return engine.drift(state.stack)


def refresh(
    project: ProjectSpec,
    target: Target,
    root: Path,
    *,
    storage: bool = False,
    report: Report = _quiet,
) -> Outcome:
    """The stack's state is as AWS is; the next `up` brings AWS back to the spec."""
    engine, state = _standing(project, target, root, storage)
    return engine.refresh(state.stack, report)


def history(
    project: ProjectSpec, target: Target, root: Path, *, storage: bool = False
) -> tuple[Past, ...]:
    """All that was done to the stack, the last first."""
    engine, state = _standing(project, target, root, storage)
    return engine.history(state.stack)


def export(
    project: ProjectSpec, target: Target, root: Path, *, storage: bool = False
) -> dict[str, Any]:
    """The stack's whole state, as `pulumi stack import` takes it."""
    engine, state = _standing(project, target, root, storage)
    return engine.export(state.stack)


def adopt(
    project: ProjectSpec,
    target: Target,
    root: Path,
    *,
    report: Report = _quiet,
    engine: str | None = None,
) -> Outcome:
    """The bucket that the spec names, which exists, belongs to the project's storage stack.

    Its settings stay as they are until the next `up`. `NotFoundError` where there is no such one.
    """
    bucket = find_bucket(project, target)
    stack = project.storage_stack
    chosen = engine_for(project, target, root, engine, stack)
    found = Adopted(type=BUCKET, name="bucket", id=bucket)
    return chosen.adopt(stack, storage_program(project, target), found, report)


def _standing(
    project: ProjectSpec, target: Target, root: Path, storage: bool
) -> tuple[Engine, StackState]:
    """The stack's engine, and what it knows of it; `NotFoundError` where there is none."""
    stack = project.storage_stack if storage else project.cluster_stack
    engine = engine_for(project, target, root, None, stack)
    state = engine.state(stack)
    if state is None or state.gone:
        why = "stands" if state is None else "stands any more: its emulator has ended"
        raise NotFoundError(f"no stack {stack} {why}", hint="Make it with `emrctl up`.")
    return engine, state
