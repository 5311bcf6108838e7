"""What every backend takes and gives: steps, their states, their logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

StepState = Literal[
    "PENDING", "RUNNING", "CANCEL_PENDING", "COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"
]
FINAL_STEP_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED"})


def to_iso(moment: datetime | None) -> str | None:
    """Return a time in ISO 8601, UTC, milliseconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """A step that is wanted: its name and the program with arguments that the primary runs."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step as the cluster knows it; `reason` is what the cluster says of its end."""

    id: str
    name: str
    state: StepState
    started: datetime | None = None
    ended: datetime | None = None
    reason: str = ""

    @property
    def finished(self) -> bool:
        """Whether the state of the step is final."""
        return self.state in FINAL_STEP_STATES

    @property
    def started_iso(self) -> str | None:
        """Time of the start in ISO 8601, UTC, milliseconds."""
        return to_iso(self.started)

    @property
    def ended_iso(self) -> str | None:
        """Time of the end in ISO 8601, UTC, milliseconds."""
        return to_iso(self.ended)


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """One log of a step: `name` is its place among them (`step/stderr`), `uri` where it lies."""

    name: str
    uri: str
    text: bytes


class Backend(Protocol):
    """Runs steps on one cluster."""

    def submit(self, step: StepSpec) -> str:
        """The step waits or runs; its id."""

    def step(self, step_id: str) -> Step:
        """The step as it is now; a step of a dead cluster that did not end is INTERRUPTED.

        `UnavailableError` where nobody can say at the moment.
        """

    def steps(self, step_ids: Sequence[str]) -> Mapping[str, Step]:
        """The steps that the cluster knows of these, as they are now, by their ids."""

    def find(self, name: str) -> Step | None:
        """The step called `name`, if the cluster has it."""

    def cancel(self, step_id: str) -> None:
        """The step is asked to end; it may take a while."""

    def logs(self, step_id: str, application_id: str | None) -> Iterator[LogFile]:
        """What the step and its application's containers wrote, as far as it has arrived."""
