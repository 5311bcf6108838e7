"""What every test shares: an AWS that is moto's, a home of its own, no user settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from emrctl import target as targets
from emrctl.target import Target

# The user's downloads are shared by all tests: Hadoop is fetched once for a machine.
CACHE = os.environ.get("EMRCTL_CACHE", str(Path.home() / ".emrctl" / "cache"))
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own emrctl, AWS profile or EMRCTL_ settings."""
    for name in [name for name in os.environ if name.startswith(("EMRCTL_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EMRCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMRCTL_CACHE", CACHE)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """moto's AWS in this process, and a target that reaches it."""
    from moto import mock_aws

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    targets._client.cache_clear()
    targets._session.cache_clear()
    with mock_aws():
        yield Target(kind="local", region="us-east-1", identity="mocked", poll_s=0.01, logs_s=0.1)
    targets._client.cache_clear()
    targets._session.cache_clear()
