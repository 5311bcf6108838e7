"""Fixtures: an engine, a mocked AWS and programs to deploy.

Tests use the engine's interface and boto3 only, so that they apply to every engine in `ENGINES`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.moto.patches import one_at_a_time
from emrctl.engine.base import Engine, Event, Preview, StackResult
from emrctl.engine.embedded.engine import EmbeddedEngine
from emrctl.engine.pulumi.engine import PulumiEngine
from emrctl.engine.pulumi.state_backend import local_backend
from emrctl.spec import ProjectSpec

ENGINES = ("embedded", pytest.param("pulumi", marks=pytest.mark.engine))
SETTINGS = {"account": "123456789012", "region": "us-east-1"}
STACK = "pets-main"


@dataclass
class Work:
    """One stack of the engine under test, and the events it reported."""

    engine: Engine
    target: Target
    folder: Path
    events: list[Event] = field(default_factory=list)

    def up(self, **cluster: Any) -> StackResult:
        self.events.clear()
        return self.engine.up(STACK, program(**cluster), self.events.append)

    def preview(self, **cluster: Any) -> Preview:
        return self.engine.preview(STACK, program(**cluster))

    def down(self) -> StackResult:
        self.events.clear()
        return self.engine.down(STACK, self.events.append)

    def clusters(self, *states: str) -> list[str]:
        """Return the ids of the clusters in these states; default: active ones."""
        wanted = list(states or ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"))
        found = self.target.client("emr").list_clusters(ClusterStates=wanted)
        return [item["Id"] for item in found["Clusters"]]


def project(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": cluster})


def program(**cluster: Any) -> Callable[[], None]:
    """Return the cluster's program for a spec with these values."""
    from stacks import program as declared

    spec = project(**cluster)
    scripts = {action.script: f"s3://pets/{action.script}" for action in spec.bootstrap_actions}
    return lambda: declared.declare_cluster(spec, SETTINGS, "pets", scripts)


def made(outcome: StackResult | Preview) -> dict[str, str]:
    """Return the operation on each changed resource."""
    return {c.name: c.operation for c in outcome.changes if c.operation != "same"}


@contextmanager
def quick_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """Mock AWS with moto without its default AMIs, which take a second to load."""
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    with mock_aws(), one_at_a_time():
        yield Target(kind="local", region="us-east-1", identity="quick", poll_s=0.01, logs_s=0.1)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    with quick_aws(monkeypatch) as target:
        yield target


def pulumi_engine(target: Target, folder: Path) -> PulumiEngine:
    return PulumiEngine(target, local_backend(folder / "pulumi"), folder)


@pytest.fixture(params=ENGINES)
def work(request: pytest.FixtureRequest, aws: Target, tmp_path: Path) -> Work:
    folder = tmp_path / "stacks"
    if request.param == "pulumi":
        request.getfixturevalue("real_engine")
        return Work(engine=pulumi_engine(aws, folder), target=aws, folder=folder)
    return Work(engine=EmbeddedEngine(aws, folder), target=aws, folder=folder)


@pytest.fixture
def never_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep new clusters in STARTING."""
    monkeypatch.setattr("moto.emr.models.Cluster.run_bootstrap_actions", lambda _cluster: None)


def model(id_: str) -> Any:
    """Return moto's record of a cluster."""
    from moto.emr.models import emr_backends

    return emr_backends["123456789012"]["us-east-1"].clusters[id_]


def when_starting(work: Work, act: Callable[[str], None]) -> threading.Thread:
    """Call `act` in a thread with the id of the first cluster in STARTING."""

    def wait() -> None:
        for _ in range(1000):
            found = work.clusters("STARTING")
            if found:
                time.sleep(0.05)  # until the engine waits for it
                act(found[0])
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@contextmanager
def interrupted(work: Work) -> Iterator[None]:
    """Send SIGINT while a cluster starts."""
    thread = when_starting(work, lambda _id: os.kill(os.getpid(), signal.SIGINT))
    yield
    thread.join()
