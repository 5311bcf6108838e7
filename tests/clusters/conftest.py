"""Fixtures of tests on moto."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.homes import Home
from tests.engine.conftest import quick_aws


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    from moto.iam.access_control import PermissionResult

    # moto ignores policy conditions: the policy that requires TLS would deny everything.
    permission = "moto.s3.models.FakeBucket.get_permission"
    monkeypatch.setattr(permission, lambda *_: PermissionResult.NEUTRAL)
    with quick_aws(monkeypatch) as target:
        yield Home(target, tmp_path)
