"""Clusters of the emulator's EC2 instances, ended with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from tests.emulator.ec2nodes import Ec2Nodes
from tests.standalone.cluster import BUCKET, Standing

Make = Callable[..., Standing]


@pytest.fixture
def make(instances: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a cluster of so many workers."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    folder = tmp_path / "keys"
    folder.mkdir()
    nodes = Ec2Nodes(instances, folder)
    s3 = instances.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="eventlogs/.keep", Body=b"")

    def standing(workers: int = 1, **spec: object) -> Standing:
        return Standing(nodes, workers, spec=spec)

    yield standing
    nodes.terminate()
