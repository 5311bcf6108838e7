"""Which engine works on a stack: the one that began it, else the target's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emrctl.engine.base import Engine, StackState
from emrctl.errors import UsageError
from emrctl.spec import ProjectSpec

if TYPE_CHECKING:
    from emrctl.aws.target import Target

STATES = Path(".emrctl") / "stacks"
# Stacks on AWS keep their records apart: another target's emulator is not their end.
AWS_RECORDS = Path(".emrctl") / "aws"
EMBEDDED, PULUMI = "embedded", "pulumi"


def engine_for(
    project: ProjectSpec,
    target: Target,
    root: Path,
    name: str | None = None,
    stack: str | None = None,
) -> Engine:
    """The engine called `name`; by default the one that began `stack`, else the target's own.

    AWS has one engine, Pulumi's. On localhost the embedded one is the default.
    """
    chosen = name or _began(target, root, stack) or (EMBEDDED if _local(target) else PULUMI)
    if chosen == PULUMI:
        return _pulumi(project, target, root)
    if chosen != EMBEDDED:
        raise UsageError(f"no engine is called '{chosen}'", hint=f"Type {EMBEDDED} or {PULUMI}.")
    if not _local(target):
        msg = "the embedded engine works on localhost alone"
        raise UsageError(msg, hint="Leave --engine out: AWS has one engine, pulumi.")
    from emrctl.engine.embedded.engine import EmbeddedEngine

    return EmbeddedEngine(target, root / STATES)


def stacks(project: ProjectSpec, target: Target, root: Path) -> tuple[StackState, ...]:
    """The project's stacks that have a state here; those of an emulator that ended are `gone`."""
    every = engine_for(project, target, root).stacks()
    return tuple(state for state in every if state.stack.startswith(f"{project.project}-"))


def _local(target: Target) -> bool:
    return target.kind == "local"


def _began(target: Target, root: Path, stack: str | None) -> str | None:
    """The engine that the stack's record names, where what it tells of still is."""
    if stack is None or not _local(target):
        return None
    from emrctl.engine.state import StateFolder

    found = StateFolder(root / STATES).load(stack)
    return found.engine if found is not None and found.identity == target.identity else None


def _pulumi(project: ProjectSpec, target: Target, root: Path) -> Engine:
    from emrctl.engine.pulumi.engine import PulumiEngine
    from emrctl.engine.pulumi.state_backend import aws_place, local_place

    if _local(target):
        return PulumiEngine(target, local_place(root / STATES / "pulumi"), root / STATES)
    return PulumiEngine(target, aws_place(project.engine, target, root), root / AWS_RECORDS)
