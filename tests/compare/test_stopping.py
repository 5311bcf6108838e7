"""Stop rules of experiments: certainly slower, and known well enough."""

from __future__ import annotations

from typing import Any

from emrctl.compare.stopping import stop_rule
from emrctl.spec import ExperimentSpec


def reasons(stop: dict[str, Any] | None, **durations: list[float]) -> dict[str, str]:
    document = {"name": "e1", "job": "svm", "configurations": {name: {} for name in durations}}
    spec = ExperimentSpec.model_validate(document | {"stop": stop})
    return dict(stop_rule()(spec, durations))


def test_worse_stops_configuration_that_is_certainly_slower_than_the_fastest() -> None:
    found = reasons(
        {"worse": True},
        reference=[100.0, 101.0, 99.0],
        fast=[80.0, 81.0, 80.5],
        same=[80.2, 81.5, 80.1],
        slow=[150.0, 151.0],
        once=[500.0],
        none=[],
    )
    assert found.keys() == {"reference", "slow"}
    assert found["slow"].startswith("certainly slower than fast (+")


def test_interval_stops_configuration_whose_ratio_is_known() -> None:
    precise, vague = [50.0, 50.1, 49.9, 50.0] * 2, [40.0, 60.0, 50.0]
    durations = {"reference": [100.0, 100.2, 99.9, 100.1] * 2, "b": precise}
    found = reasons({"interval": "5%"}, **durations, c=vague)
    assert found.keys() == {"b"}
    assert found["b"].startswith("known well enough beside reference (-5")
    found = reasons({"interval": "5%"}, **durations)
    assert found["reference"] == "all other configurations are done"
    assert reasons({"interval": "0.001%"}, **durations) == {}


def test_rules_need_repeats_and_a_stop_section() -> None:
    assert reasons(None, a=[1.0, 1.0], b=[9.0, 9.0]) == {}
    assert reasons({"worse": True, "interval": "5%"}, a=[1.0], b=[9.0]) == {}
    assert reasons({"worse": True}, a=[0.0, 0.0], b=[9.0, 9.0]) == {}
