"""Fixtures of preflight tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emrctl.aws import target as targets
from tests.provision.preflight.accounts import HEALTHY
from tests.recorded import Recorded


@pytest.fixture(scope="module")
def _clients() -> Iterator[None]:
    """Create boto3 clients once for the tests of this folder."""
    for cache in (targets._client, targets._session):
        cache.cache_clear()
    yield
    for cache in (targets._client, targets._session):
        cache.cache_clear()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, _clients: None) -> Recorded:
    """Return the answers of a healthy account; tests may change them."""
    found = Recorded(HEALTHY)
    # A function, and so a method: an object that can be called would not get the client.
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", found.answer)
    return found
