"""Samplers over a list of candidates."""

from __future__ import annotations

import math
import sys

import pytest

from emrctl.errors import UsageError
from emrctl.tune import samplers

CANDIDATES: list[dict[str, float | str]] = [
    {"executors": executors, "codec": codec} for executors in (1, 2, 4) for codec in ("lz4", "zstd")
]


@pytest.mark.parametrize("name", ["search", "grid", "random", "tpe", "qmc"])
def test_sampler_measures_every_candidate_once(name: str) -> None:
    sampler = samplers.create(name, CANDIDATES, seed=0)
    asked = []
    for _ in CANDIDATES:
        asked.append(sampler.ask())
        sampler.tell(asked[-1], float(asked[-1]) + 1)
    assert sorted(asked) == list(range(len(CANDIDATES)))
    assert sampler.ask() in range(len(CANDIDATES))


@pytest.mark.parametrize("name", ["search", "grid", "random", "tpe"])
def test_sampler_accepts_earlier_failures_and_pending_candidates(name: str) -> None:
    sampler = samplers.create(name, CANDIDATES, seed=0, goal="maximise")
    sampler.tell(3, math.nan)
    sampler.tell(5, 7.0)
    assert sampler.ask([0, 1]) in {2, 4}


def test_grid_takes_the_order_of_the_candidates() -> None:
    sampler = samplers.create("grid", CANDIDATES, seed=0)
    assert (sampler.ask(), sampler.ask([0])) == (0, 1)


def test_unknown_sampler_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="sampler 'xgboost' is unknown"):
        samplers.create("xgboost", CANDIDATES, seed=0)


def test_gp_without_torch_names_the_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match="the sampler 'gp' needs torch"):
        samplers.create("gp", CANDIDATES, seed=0)
