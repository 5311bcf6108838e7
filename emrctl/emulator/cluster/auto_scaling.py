"""Automatic scaling: the rules of instance groups, applied by EMR's metrics in CloudWatch."""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.cluster_metrics import MINUTE_S, NAMESPACE, MetricPoint, MetricStore
from emrctl.emulator.cluster.model import EmulatedCluster, InstanceGroup

_log = logging.getLogger(__name__)

CHECK_S = 5.0
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GREATER_THAN_OR_EQUAL": operator.ge,
    "GREATER_THAN": operator.gt,
    "LESS_THAN": operator.lt,
    "LESS_THAN_OR_EQUAL": operator.le,
}
_STATISTICS: Mapping[str, Callable[[list[MetricPoint]], float]] = {
    "AVERAGE": lambda points: sum(p.sum for p in points) / sum(p.count for p in points),
    "SUM": lambda points: sum(p.sum for p in points),
    "MINIMUM": lambda points: min(p.minimum for p in points),
    "MAXIMUM": lambda points: max(p.maximum for p in points),
    "SAMPLE_COUNT": lambda points: sum(p.count for p in points),
}


@dataclass(kw_only=True)
class AutoScaler:
    """Applies the automatic scaling policies of a cluster's groups.

    Rules are evaluated every minute over whole minutes, as alarms of CloudWatch. `resize` changes
    the number of instances of a group.
    """

    cluster: EmulatedCluster
    metrics: MetricStore
    resize: Callable[[InstanceGroup, Mapping[str, int], str], None]
    clock: Callable[[], float] = time.time
    next_minute: float = 0.0
    cooling_until: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Resize the groups that have a rule whose alarm is on, once a minute.

        Managed scaling takes precedence over the rules.
        """
        now = self.clock()
        if self.cluster.managed_scaling is not None:
            return
        if now < self.next_minute or self.cluster.state not in (model.RUNNING, model.WAITING):
            return
        self.next_minute = now // MINUTE_S * MINUTE_S + MINUTE_S
        for group in list(self.cluster.groups):
            cooling = self.cooling_until.get(group.id, 0.0) > now
            if group.auto_scaling is not None and group.state == model.RUNNING and not cooling:
                self._apply(group, group.auto_scaling)

    def _apply(self, group: InstanceGroup, policy: Mapping[str, Any]) -> None:
        """Apply the first rule that changes the number of instances."""
        for rule in policy["Rules"]:
            if not self.alarm(rule["Trigger"]["CloudWatchAlarmDefinition"]):
                continue
            action = rule["Action"]["SimpleScalingPolicyConfiguration"]
            count = target_count(group.count, action, policy["Constraints"])
            others = sum(one.count for one in self.cluster.groups if one is not group)
            count = min(count, model.MAX_INSTANCES - others)
            count = max(count, 1 if group.role == "CORE" else 0)
            if count != group.count:
                _log.info("%s: rule %s resizes %s", self.cluster.id, rule["Name"], group.id)
                self.cooling_until[group.id] = self.clock() + action.get("CoolDown", 0)
                message = f"Automatic scaling rule {rule['Name']} resizes the instance group"
                self.resize(group, {group.market: count}, f"{message} (local)")
                return

    def alarm(self, definition: Mapping[str, Any]) -> bool:
        """Whether the metric exceeds the threshold in all evaluation periods.

        Periods end with the last whole minute. One before the cluster was ready has no data.
        """
        if definition.get("Namespace", NAMESPACE) != NAMESPACE:
            return False
        period = definition["Period"]
        end = self.clock() // MINUTE_S * MINUTE_S
        ready = self.cluster.timeline.ready or end
        for number in range(definition.get("EvaluationPeriods", 1)):
            start = end - period * (number + 1)
            if start + MINUTE_S <= ready or not self._exceeds(definition, start, start + period):
                return False
        return True

    def _exceeds(self, definition: Mapping[str, Any], start: float, end: float) -> bool:
        cluster, name = self.cluster, definition["MetricName"]
        points = self.metrics.points(cluster.region, cluster.id, name, start, end)
        if not points:
            return False
        value = _STATISTICS[definition.get("Statistic", "AVERAGE")](points)
        return _COMPARISONS[definition["ComparisonOperator"]](value, definition["Threshold"])


def target_count(count: int, action: Mapping[str, Any], constraints: Mapping[str, int]) -> int:
    """Return the number of instances after a scaling action, within the constraints.

    A change in percent is rounded towards zero, but is at least one instance.
    """
    adjustment = action["ScalingAdjustment"]
    kind = action.get("AdjustmentType", "CHANGE_IN_CAPACITY")
    if kind == "EXACT_CAPACITY":
        count = adjustment
    elif kind == "PERCENT_CHANGE_IN_CAPACITY":
        change = int(count * adjustment / 100)
        count += change or (adjustment > 0) - (adjustment < 0)
    else:
        count += adjustment
    return max(constraints["MinCapacity"], min(constraints["MaxCapacity"], count))
