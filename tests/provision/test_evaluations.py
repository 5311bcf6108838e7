"""How often `up` and `preview` evaluate the program and estimate the price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from emrctl import cost
from emrctl.provision import lifecycle
from emrctl.provision.stacks import Deployment
from emrctl.spec import ProjectSpec
from stacks import program
from tests.clusters.homes import Home
from tests.engine.conftest import ENGINES


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count evaluations of both stacks and estimates of the project's price."""
    counter: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(module, name)

        def counted(*args: Any) -> Any:
            counter[name] += 1
            return original(*args)

        monkeypatch.setattr(module, name, counted)

    for name in ("declare_storage", "declare_cluster"):
        count(program, name)
    for name in ("estimate", "instances_usd"):
        count(cost, name)
    return counter


def _pets(**cluster: Any) -> ProjectSpec:
    return ProjectSpec.model_validate({"project": "pets", "cluster": {"ttl_s": 0, **cluster}})


ONCE = {"declare_storage": 1, "declare_cluster": 1, "estimate": 1}


@pytest.mark.parametrize("engine", ENGINES)
def test_up_evaluates_program_and_estimates_price_once(
    home: Home, calls: Counter[str], engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "pulumi":
        request.getfixturevalue("real_engine")
    for count in (2, 2, 3):  # create, no changes, resize
        calls.clear()
        lifecycle.deploy(
            Deployment(_pets(core={"count": count}), home.target, home.root), engine=engine
        )
        assert calls == ONCE


def test_preview_evaluates_program_and_estimates_price_once(
    home: Home, calls: Counter[str]
) -> None:
    lifecycle.preview(Deployment(_pets(max_hourly_cost=5), home.target, home.root))
    assert calls == ONCE


def test_observed_price_is_estimated_when_read(home: Home, calls: Counter[str]) -> None:
    cluster = lifecycle.deploy(Deployment(_pets(), home.target, home.root))
    assert calls == ONCE
    assert cluster.hourly_usd == pytest.approx(0.72)
