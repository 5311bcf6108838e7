"""Fixtures of clusters on emulated EC2 instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from tests.emulator.ec2nodes import Ec2Nodes
from tests.standalone.cluster import BUCKET, Ec2TestCluster

Make = Callable[..., Ec2TestCluster]


@pytest.fixture
def make(instances: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return a function that creates a cluster with a number of workers."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / "keys"
    folder.mkdir()
    nodes = Ec2Nodes(instances, folder)
    s3 = instances.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="eventlogs/.keep", Body=b"")

    def create(workers: int = 1, **spec: object) -> Ec2TestCluster:
        return Ec2TestCluster(nodes, workers, spec=spec)

    yield create
    nodes.terminate()
