from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.auto_scaling import AutoScaler, target_count
from emrctl.emulator.cluster.cluster_metrics import MetricStore
from emrctl.emulator.cluster.model import EmulatedCluster, InstanceGroup
from tests.emulator.conftest import Emr

LIMITS = {"MinCapacity": 1, "MaxCapacity": 5}
MEMORY = "YARNMemoryAvailablePercentage"


def rule(
    name: str = "out", adjustment: int = 1, cool_down: int = 0, **alarm: Any
) -> dict[str, Any]:
    """Return a rule: by default one instance more if less than 15 % of the memory is free."""
    action = {"ScalingAdjustment": adjustment, "CoolDown": cool_down}
    default = {
        "ComparisonOperator": "LESS_THAN",
        "MetricName": MEMORY,
        "Period": 300,
        "Threshold": 15.0,
    }
    return {
        "Name": name,
        "Action": {"SimpleScalingPolicyConfiguration": action},
        "Trigger": {"CloudWatchAlarmDefinition": default | alarm},
    }


@dataclass
class Scaled:
    """A cluster that was ready at second 0, at the time `now`, and how it was resized."""

    cluster: EmulatedCluster
    now: float = 0.0
    metrics: MetricStore = field(default_factory=MetricStore)
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cluster.timeline.ready = 0.1
        self.cluster.state = model.WAITING
        self.group = self.cluster.groups[1]
        self.group.state, self.group.count = model.RUNNING, 2
        self.scaler = AutoScaler(
            cluster=self.cluster,
            metrics=self.metrics,
            resize=self._resize,
            clock=lambda: self.now,
        )

    def _resize(self, group: InstanceGroup, targets: Mapping[str, int], message: str) -> None:
        assert message.startswith("Automatic scaling rule ")
        [group.count] = targets.values()
        self.counts.append(group.count)

    def minutes(self, values: list[float], *rules: dict[str, Any]) -> list[int]:
        """Sample a value in each minute and check after it; return the counts of resizes."""
        self.group.auto_scaling = {"Constraints": LIMITS, "Rules": list(rules)}
        for value in values:
            self.metrics.add(self.cluster, self.now, {MEMORY: value})
            self.now += 60
            self.scaler.check()
            self.scaler.check()
        return self.counts


@pytest.fixture
def scaled(cluster: EmulatedCluster) -> Scaled:
    return Scaled(cluster)


def test_rule_applies_once_a_minute_after_its_period_within_limits(scaled: Scaled) -> None:
    assert scaled.minutes([10.0] * 4, rule()) == []
    assert scaled.minutes([10.0] * 5, rule()) == [3, 4, 5]


def test_rule_takes_the_mean_of_the_period(scaled: Scaled) -> None:
    assert scaled.minutes([0, 0, 0, 0, 74], rule()) == [3]
    assert scaled.minutes([1], rule()) == [3]


def test_rule_with_several_periods_needs_all_of_them(scaled: Scaled) -> None:
    alarm: dict[str, Any] = {"Period": 60, "EvaluationPeriods": 3, "Statistic": "MAXIMUM"}
    assert scaled.minutes([9, 9, 50, 9, 9], rule(**alarm)) == []
    assert scaled.minutes([9], rule(**alarm)) == [3]


def test_rule_waits_for_its_cool_down(scaled: Scaled) -> None:
    assert scaled.minutes([9] * 6, rule(Period=60, cool_down=180)) == [3, 4]


def test_managed_scaling_takes_precedence_over_rules(scaled: Scaled) -> None:
    scaled.cluster.managed_scaling = {"ComputeLimits": {}}
    assert scaled.minutes([9] * 6, rule(Period=60)) == []
    scaled.cluster.managed_scaling = None
    assert scaled.minutes([9], rule(Period=60)) == [3]


def test_first_rule_that_changes_the_count_applies(scaled: Scaled) -> None:
    free: dict[str, Any] = {
        "ComparisonOperator": "GREATER_THAN_OR_EQUAL",
        "Threshold": 75,
        "Period": 60,
    }
    rules = (rule("out", Period=60), rule("in", -1, **free))
    assert scaled.minutes([75, 80, 80, 50], *rules) == [1]
    assert scaled.minutes([9], *rules) == [1, 2]


def test_rules_wait_while_the_group_is_resized_or_the_metric_is_unknown(scaled: Scaled) -> None:
    scaled.group.state = model.RESIZING
    assert scaled.minutes([9, 9], rule(Period=60)) == []
    scaled.group.state = model.RUNNING
    other: Any
    for other in ({"MetricName": "AppsPending"}, {"MetricName": "Mine"}, {"Namespace": "mine"}):
        assert scaled.minutes([9], rule(Period=60, **other)) == []
    scaled.cluster.state = model.TERMINATING
    assert scaled.minutes([9], rule(Period=60)) == []


@pytest.mark.parametrize(
    ("count", "adjustment", "kind", "expected"),
    [
        (2, 2, "CHANGE_IN_CAPACITY", 4),
        (2, -5, "CHANGE_IN_CAPACITY", 1),
        (2, 90, "CHANGE_IN_CAPACITY", 5),
        (2, 4, "EXACT_CAPACITY", 4),
        (2, 20, "PERCENT_CHANGE_IN_CAPACITY", 3),
        (4, -45, "PERCENT_CHANGE_IN_CAPACITY", 3),
        (4, -20, "PERCENT_CHANGE_IN_CAPACITY", 3),
        (4, 0, "PERCENT_CHANGE_IN_CAPACITY", 4),
    ],
)
def test_target_count_adjusts_within_constraints(
    count: int, adjustment: int, kind: str, expected: int
) -> None:
    action = {"ScalingAdjustment": adjustment, "AdjustmentType": kind}
    assert target_count(count, action, LIMITS) == expected


def test_policy_of_run_job_flow_is_attached(emr: Emr, request_body: dict[str, Any]) -> None:
    policy = {"Constraints": LIMITS, "Rules": [rule()]}
    request_body["Instances"]["InstanceGroups"][1]["AutoScalingPolicy"] = policy
    cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
    group = emr.list_instance_groups(ClusterId=cluster_id)["InstanceGroups"][1]
    assert group["AutoScalingPolicy"]["Status"]["State"] == "ATTACHED"
    assert group["AutoScalingPolicy"]["Constraints"] == LIMITS


def test_rules_keep_to_the_limit_of_instances(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "MAX_INSTANCES", 4)
    assert scaled.minutes([10], rule("grow", 5, Period=60)) == [3]
