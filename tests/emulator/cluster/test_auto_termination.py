"""Auto-termination policies, with a clock and a runtime without processes."""

from __future__ import annotations

import pytest

from emrctl.emulator.cluster.auto_termination import AutoTerminator
from emrctl.emulator.cluster.model import WAITING, EmulatedCluster, EmulatedStep
from tests.emulator.fake_runtime import FakeRuntime

YARN = {"appsRunning": 0.0, "appsPending": 0.0}


class Idle:
    """A cluster that is idle since second 100, with a policy of 60 s."""

    def __init__(self, cluster: EmulatedCluster) -> None:
        self.cluster, self.now, self.runtime = cluster, 100.0, FakeRuntime(yarn={**YARN})
        cluster.state, cluster.idle_since = WAITING, 100.0
        cluster.auto_termination = {"IdleTimeout": 60}
        self.terminator = AutoTerminator(
            cluster=cluster,
            runtime=self.runtime,
            terminate=cluster.terminate,
            clock=lambda: self.now,
        )

    def terminated(self, second: float) -> bool:
        self.now = second
        self.terminator.check()
        return self.cluster.termination is not None


@pytest.fixture
def idle(cluster: EmulatedCluster) -> Idle:
    return Idle(cluster)


def test_idle_cluster_terminates_after_its_timeout(idle: Idle) -> None:
    assert not idle.terminated(159)
    assert idle.terminated(160)


@pytest.mark.parametrize("metric", ["appsRunning", "appsPending"])
def test_application_without_a_step_restarts_the_timeout(idle: Idle, metric: str) -> None:
    idle.runtime.yarn[metric] = 1
    assert not idle.terminated(1000)
    idle.runtime.yarn[metric] = 0
    assert not idle.terminated(1059)
    assert idle.terminated(1060)


@pytest.mark.parametrize(("used", "terminated"), [(9.0, True), (10.0, False)])
def test_hdfs_in_use_is_ten_percent(idle: Idle, used: float, terminated: bool) -> None:
    idle.runtime.hdfs = {"CapacityTotal": 100.0, "CapacityUsed": used}
    assert idle.terminated(160) is terminated


def test_use_of_web_ui_restarts_the_timeout(idle: Idle) -> None:
    idle.runtime.used = 150.0
    assert not idle.terminated(200)
    assert idle.terminated(210)


@pytest.mark.parametrize("reason", ["protected", "no policy", "busy", "pending"])
def test_cluster_is_kept(idle: Idle, reason: str) -> None:
    cluster = idle.cluster
    cluster.protected = reason == "protected"
    if reason == "no policy":
        cluster.auto_termination = None
    if reason == "busy":
        cluster.idle_since = None
    if reason == "pending":
        cluster.steps = [EmulatedStep(name="a", action_on_failure="CONTINUE", jar={})]
    assert not idle.terminated(1000)
