"""YARN's daemons that exit while a cluster is running: restarted, or the cluster terminates."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from emrctl.aws.target import Target
from emrctl.emulator.api import dispatch
from emrctl.emulator.cluster import daemons
from emrctl.emulator.cluster.daemons import DaemonMonitor, ExitedDaemon
from emrctl.emulator.cluster.model import (
    WAITING,
    EmulatedCluster,
    EmulatedNode,
    InstanceGroup,
    Termination,
)
from emrctl.emulator.cluster.resizing import GroupResizer
from tests.emulator.conftest import Await, state
from tests.emulator.fake_runtime import FakeInstances, FakeRuntime


@pytest.fixture
def monitor(cluster: EmulatedCluster) -> DaemonMonitor:
    cluster.state, cluster.message = WAITING, "Cluster ready to run steps. (local)"
    runtime, stopped = FakeRuntime(), threading.Event()
    resizer = GroupResizer(
        cluster=cluster,
        runtime=runtime,
        instances=FakeInstances(),
        terminate=cluster.terminate,
        stopped=stopped,
    )

    def lose(node: EmulatedNode, reason: str) -> None:
        resizer.lose(node, reason, replaced=False)

    return DaemonMonitor(cluster=cluster, runtime=runtime, lose=lose, stopped=stopped)


def fake(monitor: DaemonMonitor) -> FakeRuntime:
    assert isinstance(monitor.runtime, FakeRuntime)
    return monitor.runtime


def resource_manager(cluster: EmulatedCluster) -> ExitedDaemon:
    return ExitedDaemon("ResourceManager", cluster.nodes[0], 137)


def node_manager(cluster: EmulatedCluster, index: int = 1) -> ExitedDaemon:
    return ExitedDaemon("NodeManager", cluster.nodes[index], 137)


def test_exited_daemons_are_restarted(
    monitor: DaemonMonitor, cluster: EmulatedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    exited = [resource_manager(cluster), node_manager(cluster)]
    fake(monitor).exited = list(exited)
    monitor.check()
    assert fake(monitor).restarted == exited
    assert cluster.termination is None
    assert cluster.state == WAITING
    for daemon in exited:
        text = f"{daemon.name} on {daemon.node.ec2_id} exited with code 137 and was restarted at"
        assert text in cluster.message
        assert daemon.node.reason.startswith(text)
        assert sum(text in warning for warning in cluster.warnings) == 1
        assert f"restarted {daemon.name}" in caplog.text


def test_only_last_restart_of_a_daemon_is_a_warning(
    monitor: DaemonMonitor, cluster: EmulatedCluster
) -> None:
    for _ in range(3):
        fake(monitor).exited = [resource_manager(cluster)]
        monitor.check()
    assert len(cluster.warnings) == 1


def test_message_shows_the_restart_while_it_lasts(
    monitor: DaemonMonitor, cluster: EmulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        FakeRuntime, "restart_daemon", lambda *_: seen.append(cluster.message), raising=True
    )
    fake(monitor).exited = [resource_manager(cluster)]
    monitor.check()
    assert seen == [f"Restarting ResourceManager on {cluster.nodes[0].ec2_id} (local)"]


def test_resource_manager_that_cannot_start_terminates_the_cluster(
    monitor: DaemonMonitor, cluster: EmulatedCluster
) -> None:
    fake(monitor).exited, fake(monitor).restartable = [resource_manager(cluster)], False
    monitor.check()
    termination = cluster.termination
    assert termination is not None
    assert (termination.code, termination.state) == ("INSTANCE_FAILURE", "TERMINATED_WITH_ERRORS")
    assert f"The master node {cluster.nodes[0].ec2_id} failed" in cluster.message
    assert termination.details[0]["ErrorCode"] == "INSTANCE_FAILURE_MASTER_FAILED"


def test_daemon_that_exits_again_and_again_terminates_the_cluster(
    monitor: DaemonMonitor, cluster: EmulatedCluster
) -> None:
    for _ in range(4):
        fake(monitor).exited = [resource_manager(cluster)]
        monitor.check()
    assert len(fake(monitor).restarted) == 3
    assert cluster.termination is not None


def test_daemon_that_exits_rarely_is_always_restarted(
    monitor: DaemonMonitor, cluster: EmulatedCluster
) -> None:
    now = 0.0
    monitor.clock = lambda: now
    for _ in range(10):
        now += 150
        fake(monitor).exited = [resource_manager(cluster)]
        monitor.check()
    assert cluster.termination is None


def test_last_worker_that_fails_terminates_the_cluster(
    monitor: DaemonMonitor, cluster: EmulatedCluster
) -> None:
    fake(monitor).exited, fake(monitor).restartable = [node_manager(cluster)], False
    monitor.check()
    assert cluster.termination is not None
    assert cluster.termination.details[0]["ErrorCode"] == "INSTANCE_FAILURE_NO_SLAVE_LEFT"


def test_worker_that_fails_is_removed_if_there_are_others(
    monitor: DaemonMonitor, cluster: EmulatedCluster, until: Await
) -> None:
    group = InstanceGroup(role="TASK", instance_type="m5.xlarge", count=1, request={})
    names: Any = {"public_dns": "p", "public_ip": "1", "private_dns": "q", "private_ip": "2"}
    cluster.nodes.append(EmulatedNode(group=group, ec2_id="i-3", **names))
    fake(monitor).exited, fake(monitor).restartable = [node_manager(cluster, 2)], False
    monitor.check()
    assert cluster.termination is None
    until(lambda: fake(monitor).removed, ["i-3"])
    assert (cluster.nodes[2].state, cluster.nodes[2].code) == ("TERMINATED", "INSTANCE_FAILURE")
    assert cluster.nodes[2].reason.endswith("and could not be restarted")


def test_daemons_of_a_terminating_cluster_are_not_restarted(
    monitor: DaemonMonitor, cluster: EmulatedCluster
) -> None:
    cluster.terminate(Termination(code="USER_REQUEST", message="Terminated by user request"))
    fake(monitor).exited = [resource_manager(cluster)]
    monitor.check()
    assert fake(monitor).restarted == []


@pytest.mark.parametrize("restartable", [True, False])
def test_controller_checks_daemons(
    mocked: Target,
    request_body: dict[str, Any],
    until: Await,
    monkeypatch: pytest.MonkeyPatch,
    restartable: bool,
) -> None:
    monkeypatch.setattr(daemons, "CHECK_S", 0.01)
    runtime = FakeRuntime(restartable=restartable)
    with dispatch.install(runtime) as service:
        emr = mocked.client("emr")
        cluster_id = emr.run_job_flow(**request_body)["JobFlowId"]
        until(lambda: state(emr, cluster_id), "WAITING")
        runtime.exited = [resource_manager(service.clusters[cluster_id])]
        if restartable:
            until(lambda: bool(service.clusters[cluster_id].warnings), True)
            status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
            assert status["State"] == "WAITING"
            assert "was restarted at" in status["StateChangeReason"]["Message"]
        else:
            until(lambda: state(emr, cluster_id), "TERMINATED_WITH_ERRORS")
            status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
            assert status["StateChangeReason"]["Code"] == "INSTANCE_FAILURE"
