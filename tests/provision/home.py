"""A project of an EMR cluster on a moto target, for tests of its lifecycle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster
from emrctl.engine.base import Event, Preview
from emrctl.provision import lifecycle
from emrctl.provision.stacks import Deployment
from emrctl.spec import ProjectSpec
from tests.engine.conftest import quick_aws


@dataclass
class Home:
    """A project of an EMR cluster on a moto target."""

    target: Target
    root: Path
    events: list[Event] = field(default_factory=list)

    def deployment(self, **cluster: Any) -> Deployment:
        return Deployment(pets(**cluster), self.target, self.root)

    def up(self, **cluster: Any) -> Cluster:
        return lifecycle.deploy(self.deployment(**cluster), report=self.events.append)

    def preview(self, **cluster: Any) -> tuple[Preview, Preview]:
        return lifecycle.preview(self.deployment(**cluster))

    def put_script(self, content: bytes) -> None:
        """Put a script at s3://elsewhere/x.sh."""
        s3 = self.target.client("s3")
        s3.create_bucket(Bucket="elsewhere")
        s3.put_object(Bucket="elsewhere", Key="x.sh", Body=content)

    def down(self, *, storage: bool = False, **cluster: Any) -> None:
        lifecycle.down(self.deployment(**cluster), storage=storage)


def pets(**cluster: Any) -> ProjectSpec:
    bootstrap = cluster.pop("bootstrap", ["setup.sh"])
    document = {"project": "pets", "cluster": {"bootstrap": bootstrap, "ttl_s": 0, **cluster}}
    return ProjectSpec.model_validate(document)


@contextmanager
def new_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Create the project in the folder."""
    from moto.iam.access_control import PermissionResult

    # moto ignores policy conditions: the policy that requires TLS would deny everything.
    permission = "moto.s3.models.FakeBucket.get_permission"
    monkeypatch.setattr(permission, lambda *_: PermissionResult.NEUTRAL)
    (folder / "setup.sh").write_text("#!/bin/bash\ntrue\n")
    with quick_aws(monkeypatch) as target:
        yield Home(target=target, root=folder)
