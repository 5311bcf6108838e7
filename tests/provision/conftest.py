"""Fixtures shared with the tests of observed clusters."""

from __future__ import annotations

from tests.clusters.conftest import home

__all__ = ["home"]
