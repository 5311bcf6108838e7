"""The cluster stack on the EMR on localhost, without processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.engine.embedded.engine import EmbeddedEngine
from tests.engine.conftest import Work


@pytest.fixture
def emulated(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> Work:
    # Before the service starts: loading the images takes a second.
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    request.getfixturevalue("runtime")
    mocked: Target = request.getfixturevalue("mocked")
    mocked.client("s3").create_bucket(Bucket="pets")
    return Work(engine=EmbeddedEngine(mocked, tmp_path), target=mocked, folder=tmp_path)
