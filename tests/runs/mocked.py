"""A project whose target is moto's AWS."""

from __future__ import annotations

from pathlib import Path

from emrctl.aws.target import Target
from emrctl.runs.progress import Progress
from emrctl.runs.record import Run
from emrctl.runs.workspace import Workspace
from emrctl.spec import JobSpec, ProjectSpec
from emrctl.spec.config import Config


class MockedWorkspace(Workspace):
    """A workspace with moto's target."""

    def __init__(self, config: Config, target: Target) -> None:
        super().__init__(config)
        object.__setattr__(self, "target", target)


def mocked_workspace(target: Target, folder: Path, job: JobSpec | None = None) -> MockedWorkspace:
    """Return a project in the folder with the job `mine`."""
    (folder / "mine.py").write_text("print(1)")
    project = ProjectSpec(project="pets", jobs={"mine": job or JobSpec(script="mine.py")})
    return MockedWorkspace(Config(project, folder, {}), target)


def watch(_run: Run, _progress: Progress) -> None:
    """Ignore the progress."""
