"""A cluster without AWS whose steps are files: for trials in tests, and clients that are killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster
from emrctl.runs import dependencies, lifecycle, pull, submission
from emrctl.runs.adapters import MasterConf
from emrctl.runs.backends.base import Step, StepState, to_iso
from emrctl.runs.dependencies import Dependencies
from emrctl.runs.record import ClusterFacts, Run
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec, SparkSettings
from emrctl.spec.config import Config
from tests.facts import CLUSTER

START = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
TARGET = Target(kind="local", region="us-east-1", identity="fake", poll_s=0, logs_s=0)


def _no_event() -> None:
    """Ignore an event."""


@dataclass
class FakeSteps:
    """Steps of one cluster, a file each; a step completes at the `polls`-th poll of a client.

    `duration_s` and `state` are called with the name of a finished step. `event` is called before
    and after each step is added.
    """

    folder: Path
    polls: int = 1
    event: Callable[[], None] = _no_event
    state: Callable[[str], StepState] = lambda _name: "COMPLETED"
    duration_s: Callable[[str], float] = lambda _name: 10.0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.polled: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.running: set[str] = set()

    def names(self) -> list[str]:
        """Return the names of all steps in the order in which they were added."""
        files = sorted(self.folder.iterdir(), key=lambda path: int(path.name.split("-")[1]))
        return [path.read_text() for path in files]

    def submit(self, name: str, _arguments: Sequence[str]) -> str:
        self.event()
        step_id = f"s-{len(list(self.folder.iterdir()))}"
        with (self.folder / step_id).open("x") as file:
            file.write(name)
        self.event()
        self.running.add(step_id)
        self.most_at_once = max(self.most_at_once, len(self.running))
        return step_id

    def step(self, step_id: str) -> Step:
        name = (self.folder / step_id).read_text()
        self.polled[step_id] = self.polled.get(step_id, 0) + 1
        started = START + timedelta(minutes=10 * int(step_id.split("-")[1]))
        if step_id in self.cancelled:
            self.running.discard(step_id)
            return Step(id=step_id, name=name, state="CANCELLED", started=started, ended=started)
        if self.polled[step_id] < self.polls:
            return Step(id=step_id, name=name, state="PENDING", started=started)
        self.running.discard(step_id)
        ended = started + timedelta(seconds=self.duration_s(name))
        return Step(id=step_id, name=name, state=self.state(name), started=started, ended=ended)

    def steps(self, step_ids: Sequence[str]) -> dict[str, Step]:
        return {step_id: self.step(step_id) for step_id in step_ids}

    def find(self, name: str) -> Step | None:
        for path in self.folder.iterdir():
            if path.read_text() == name:
                return self.step(path.name)
        return None

    def cancel(self, step_id: str) -> None:
        self.cancelled.add(step_id)


class FakeAdapter:
    """Runs on a cluster of `FakeSteps`."""

    def __init__(self, steps: FakeSteps) -> None:
        self._steps = steps

    def backend(self, _cluster: ClusterFacts) -> FakeSteps:
        return self._steps

    def master_conf(self, _cluster: Cluster, _settings: SparkSettings) -> MasterConf:
        return MasterConf()

    def application_conf(self, _run: Run) -> Mapping[str, str]:
        return {}


class FakeWorkspace(Workspace):
    """A project in `root` whose clusters are all `cluster`, with `FakeSteps`."""

    def __init__(self, project: ProjectSpec, root: Path, **steps: Any) -> None:
        super().__init__(Config(project, root, {}))
        self.__dict__["target"] = TARGET
        self.__dict__["steps"] = FakeSteps(root / "steps", **steps)
        spec = project.cluster
        self.__dict__["observed"] = replace(CLUSTER, spec=spec)

    @property
    def fake(self) -> FakeSteps:
        """The steps."""
        steps: FakeSteps = self.__dict__["steps"]
        return steps

    def adapter(self, _cluster_id: str) -> Any:
        return FakeAdapter(self.fake)

    def cluster(self, _name: str | None = None) -> Cluster:
        cluster: Cluster = self.__dict__["observed"]
        return cluster


def _finish(workspace: Workspace, run: Run, step: Step, _check: object) -> Run:
    """Store the final state of a step that left no logs."""
    run = replace(run, state=step.state, inferred=step.inferred, ended=to_iso(step.ended))
    workspace.store.save(run)
    return run


@contextmanager
def without_uploads() -> Iterator[None]:
    """Submit without uploads, and finish steps without logs."""

    def stage(_t: Target, _c: Cluster, settings: SparkSettings, _r: Path) -> Dependencies:
        return Dependencies(settings=settings)

    with ExitStack() as stack:
        for patch in (
            mock.patch.object(submission, "stage_job", return_value=("s3://b/code/job.py",)),
            mock.patch.object(submission, "prepare_event_logs"),
            mock.patch.object(submission, "_find_launcher", return_value=None),
            mock.patch.object(dependencies, "stage", stage),
            mock.patch.object(pull, "finish", _finish),
            mock.patch.object(lifecycle, "_NO_STEP_TIMEOUT_S", 0.0),
        ):
            stack.enter_context(patch)
        yield


class Report:
    """Records what is reported."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.continued: list[str] = []
        self.ran: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def started(self, trial: Any, run: Run) -> None:
        (self.continued if trial.run else self.ran).append(
            f"{trial.facts.cell} {trial.facts.repeat}"
        )

    def progress(self, running: Any, outlook: Any) -> None:
        """Ignore the progress."""

    def finished(self, trial: Any, run: Run, outlook: Any) -> None:
        """Ignore the end."""
