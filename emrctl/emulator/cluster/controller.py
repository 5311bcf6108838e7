"""Lifecycle of an emulated cluster: its states, its queue of steps and its termination.

One thread per cluster changes the cluster's state. Other threads may only request a termination
(`EmulatedCluster.terminate`), which sets TERMINATING at once. Exceptions in these threads have no
caller that could catch them: they are logged and become a state of the cluster or step.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Protocol

from emrctl.emulator.cluster import (
    auto_scaling,
    auto_termination,
    cluster_metrics,
    daemons,
    failures,
    model,
    threads,
)
from emrctl.emulator.cluster.auto_scaling import AutoScaler
from emrctl.emulator.cluster.auto_termination import AutoTerminator, UseRuntime
from emrctl.emulator.cluster.cluster_metrics import MetricSampler, MetricStore
from emrctl.emulator.cluster.daemons import DaemonMonitor, DaemonRuntime
from emrctl.emulator.cluster.failures import BootstrapFailedError
from emrctl.emulator.cluster.model import (
    EmulatedCluster,
    EmulatedNode,
    EmulatedStep,
    InstanceGroup,
    StepResult,
    Termination,
)
from emrctl.emulator.cluster.reconfiguring import ConfigurationRuntime, GroupReconfigurer
from emrctl.emulator.cluster.resizing import Ec2Instances, GroupResizer, NodeRuntime
from emrctl.emulator.cluster.scaling import INTERVAL_S, ManagedScaler
from emrctl.emulator.faults import Faults

_log = logging.getLogger(__name__)

_READY = "Cluster ready to run steps. (local)"
_STEP_COMPLETED = "Cluster ready after last step completed. (local)"


class ClusterRuntime(ConfigurationRuntime, DaemonRuntime, NodeRuntime, UseRuntime, Protocol):
    """Runs nodes and steps. Methods block until they are done or `interrupt` is called."""

    def start(self, cluster: EmulatedCluster) -> None:
        """Start YARN and configure Spark."""

    def run_step(self, cluster: EmulatedCluster, step: EmulatedStep) -> StepResult:
        """Run a step and upload its logs."""

    def cancel_step(self, cluster: EmulatedCluster, step: EmulatedStep, *, kill: bool) -> None:
        """Send SIGTERM, or SIGKILL with `kill`, to the processes of a running step."""

    def interrupt(self, cluster: EmulatedCluster) -> None:
        """Kill running steps and bootstrap actions, so that waiting methods return."""

    def stop(self, cluster: EmulatedCluster) -> None:
        """Stop the cluster's processes and upload the remaining logs."""


class ClusterController:
    """Runs one cluster from STARTING to TERMINATED."""

    def __init__(
        self,
        cluster: EmulatedCluster,
        runtime: ClusterRuntime,
        instances: Ec2Instances,
        faults: Faults,
        metrics: MetricStore,
        scaling_interval_s: float = INTERVAL_S,
    ) -> None:
        """Create a controller; `instances` are the EC2 records of the nodes."""
        self.cluster = cluster
        self.faults = faults
        self.runtime = runtime
        self.instances = instances
        # Set before the thread starts if EC2 has no capacity for the cluster.
        self.no_capacity: Termination | None = None
        self.step_threads: list[threading.Thread] = []
        self.shutting_down = threading.Event()
        self.resizer = GroupResizer(
            cluster=cluster,
            runtime=runtime,
            instances=instances,
            terminate=self.terminate,
            stopped=self.shutting_down,
        )
        self.metrics = MetricSampler(cluster=cluster, runtime=runtime, store=metrics)
        self.daemons = DaemonMonitor(
            cluster=cluster, runtime=runtime, lose=self._lose, stopped=self.shutting_down
        )
        self.reconfigurer = GroupReconfigurer(cluster=cluster, runtime=runtime)
        self.scaler = ManagedScaler(
            cluster=cluster,
            load=runtime.load,
            resize=self._scale,
            interval_s=scaling_interval_s,
        )
        self.auto_scaler = AutoScaler(cluster=cluster, metrics=metrics, resize=self._scale)
        self.auto_terminator = AutoTerminator(
            cluster=cluster, runtime=runtime, terminate=cluster.terminate
        )
        self.thread = threading.Thread(target=self._run_cluster, name=cluster.id, daemon=True)

    def terminate(self, reason: Termination) -> None:
        """Set TERMINATING and kill the cluster's processes in the background."""
        self.cluster.terminate(reason)
        threads.start(self._interrupt)

    def _interrupt(self) -> None:
        # Repeated, because the controller may be just about to start another process.
        while not self.shutting_down.is_set():
            self.runtime.interrupt(self.cluster)
            self.shutting_down.wait(0.5)

    def cancel_step(self, step: EmulatedStep, *, kill: bool) -> None:
        """Cancel a pending step at once, a running one (CANCEL_PENDING) in the background."""
        with self.cluster.changing():
            step.cancelled = True
            if step.state == model.PENDING:
                _end_step(step, model.CANCELLED, "Cancelled by user")
                return
            step.state = model.CANCEL_PENDING
        threads.start(lambda: self.runtime.cancel_step(self.cluster, step, kill=kill))

    def lose_node(self, node: EmulatedNode, *, spot_interruption: bool = False) -> None:
        """Terminate an instance as if its hardware had failed, or EC2 had interrupted it.

        EMR replaces interrupted Spot instances, and others with UnhealthyNodeReplacement.
        """
        if not spot_interruption:
            self._lose(node, f"Instance {node.ec2_id} failed (local)")
            return
        reason = f"Server.SpotInstanceTermination: {node.ec2_id} was interrupted by EC2 (local)"
        self.resizer.lose(node, reason, replaced=True)

    def _lose(self, node: EmulatedNode, reason: str) -> None:
        self.resizer.lose(node, reason, replaced=self.cluster.replace_unhealthy)

    def _scale(self, group: InstanceGroup, targets: Mapping[str, int], message: str) -> None:
        nodes = self.cluster.staying_nodes(group)
        present = {
            market: sum(node.units for node in nodes if node.market == market) for market in targets
        }
        # Not compared with the targets, which a failed attempt leaves at the larger size.
        grows = any(units > present[market] for market, units in targets.items())
        failed = grows and self.resizer.failed_recently(group)
        if failed or group.state == model.RECONFIGURING:
            return
        self.resizer.resize(group, targets, message)

    # -- the cluster's thread

    def _run_cluster(self) -> None:
        if self.no_capacity is not None:
            self.cluster.terminate(self.no_capacity)
            self._shut_down()
            return
        try:
            self._start_cluster()
            self._start_loops()
            self._run_steps()
        except BootstrapFailedError as error:
            termination = failures.bootstrap_failure(error)
            error.node.code, error.node.reason = termination.code, termination.message
            self.cluster.terminate(termination)
        except Exception as error:  # noqa: BLE001
            _log.exception("cluster %s failed", self.cluster.id)
            state = model.TERMINATED_WITH_ERRORS
            reason = Termination(code="INTERNAL_ERROR", message=f"{error} (local)", state=state)
            self.cluster.terminate(reason)
        self._shut_down()

    def _start_cluster(self) -> None:
        cluster = self.cluster
        self._set_state(model.BOOTSTRAPPING, "Running bootstrap actions (local)")
        self._set_states(model.BOOTSTRAPPING)
        failures.check_bootstrap(self.faults, cluster)
        failed = self.runtime.bootstrap(cluster, cluster.nodes)
        if error := failures.fatal(cluster, failed):
            raise error
        self.resizer.discard(failed)
        if cluster.termination is None:
            self.runtime.start(cluster)
        self._set_states(model.RUNNING)
        with cluster.changing():
            cluster.timeline.ready = time.time()
            if not cluster.steps:
                cluster.idle_since = cluster.timeline.ready
                self._set_state(model.WAITING, " ".join([_READY, *cluster.warnings]))
        self.resizer.replace_failed(failed)

    def _start_loops(self) -> None:
        threads.start(self.metrics.sample)
        checks = (
            (self.metrics.check, cluster_metrics.CHECK_S, "sample the metrics"),
            (self.daemons.check, daemons.CHECK_S, "check the daemons"),
            (self.scaler.check, self.scaler.interval_s, "apply managed scaling"),
            (self.auto_scaler.check, auto_scaling.CHECK_S, "apply automatic scaling"),
            (self.auto_terminator.check, auto_termination.CHECK_S, "apply auto-termination"),
        )
        for check, interval_s, verb in checks:
            failure = f"{self.cluster.id}: could not {verb}"
            threads.repeat(check, interval_s, self.shutting_down, failure)

    def _set_state(self, state: str, message: str) -> None:
        with self.cluster.changing():
            if self.cluster.termination is None:
                self.cluster.state, self.cluster.message = state, message

    def _set_states(self, state: str) -> None:
        """Set the state of all nodes and groups, those without a node included."""
        now = time.time() if state == model.RUNNING else None
        with self.cluster.changing():
            for node in self.cluster.active_nodes:
                node.state = state
                node.timeline.ready = now or node.timeline.ready
            for group in self.cluster.groups:
                group.state = state
                group.timeline.ready = group.timeline.ready or now

    def _run_steps(self) -> None:
        cluster = self.cluster
        with cluster.changed:
            while cluster.termination is None:
                self._start_pending_steps()
                self._update_state()
                cluster.on_change(cluster)
                if cluster.termination is None:
                    cluster.changed.wait()

    def _start_pending_steps(self) -> None:
        """Start pending steps in order, up to StepConcurrencyLevel."""
        self.step_threads = [thread for thread in self.step_threads if thread.is_alive()]
        steps = self.cluster.steps
        running = sum(1 for step in steps if step.running)
        pending = [step for step in steps if step.state == model.PENDING]
        for step in pending[: max(0, self.cluster.concurrency - running)]:
            step.state, step.timeline.ready = model.RUNNING, time.time()
            self.step_threads.append(threads.start(self._run_step, step))

    def _update_state(self) -> None:
        cluster = self.cluster
        if any(step.unfinished for step in cluster.steps):
            cluster.idle_since = None
            if cluster.state != model.RUNNING:
                self._set_state(model.RUNNING, "Running step (local)")
        elif cluster.keep_alive:
            cluster.idle_since = cluster.idle_since or time.time()
            if cluster.state != model.WAITING:
                message = _STEP_COMPLETED if cluster.steps else _READY
                self._set_state(model.WAITING, " ".join([message, *cluster.warnings]))
        else:
            reason = Termination(code="ALL_STEPS_COMPLETED", message="Steps completed (local)")
            cluster.terminate(reason)

    # -- a step's thread

    def _run_step(self, step: EmulatedStep) -> None:
        try:
            result = self.runtime.run_step(self.cluster, step)
        except Exception as error:  # noqa: BLE001
            _log.exception("step %s of %s failed", step.id, self.cluster.id)
            failure = {"Reason": "Unknown Error.", "Message": str(error)}
            result = StepResult(exit_code=1, failure=failure)
        with self.cluster.changing():
            self._record_result(step, result)
        self.metrics.sample()

    def _record_result(self, step: EmulatedStep, result: StepResult) -> None:
        if result.exit_code == 0:
            _end_step(step, model.COMPLETED, "")
        elif step.cancelled:
            _end_step(step, model.CANCELLED, "Cancelled by user")
        elif self.cluster.termination is not None:
            _end_step(step, model.INTERRUPTED, "The cluster terminated while the step was running")
        else:
            _end_step(step, model.FAILED, "")
            step.failure = {key: value for key, value in result.failure.items() if value}
            self._apply_action_on_failure(step)

    def _apply_action_on_failure(self, step: EmulatedStep) -> None:
        cluster, action = self.cluster, step.action_on_failure
        if cluster.concurrency > 1 or action == "CONTINUE":
            return
        if action in ("TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW") and not cluster.protected:
            message = f"Shut down as step failed: {step.id} (local)"
            state = model.TERMINATED_WITH_ERRORS
            cluster.terminate(Termination(code="STEP_FAILURE", message=message, state=state))
            return
        for other in cluster.steps:
            if other.state == model.PENDING:
                _end_step(other, model.CANCELLED, f"Step {step.id} failed before it")

    # -- termination

    def _shut_down(self) -> None:
        cluster = self.cluster
        with cluster.changed:
            for step in cluster.steps:
                if step.state == model.PENDING:
                    message = "The cluster terminated before the step was started"
                    _end_step(step, model.CANCELLED, message)
        self.shutting_down.set()
        self.runtime.interrupt(cluster)
        for thread in self.step_threads:
            thread.join(timeout=30)
        try:
            self.runtime.stop(cluster)
        except Exception:  # noqa: BLE001
            _log.exception("could not stop %s", cluster.id)
        self.instances.terminate(cluster.active_nodes)
        self._set_terminated()

    def _set_terminated(self) -> None:
        cluster, now = self.cluster, time.time()
        with cluster.changing():
            cluster.end_instances(now)
            for step in cluster.steps:
                if step.unfinished:
                    message = "The cluster terminated while the step was running"
                    _end_step(step, model.INTERRUPTED, message)
            cluster.timeline.ended = now
            cluster.state = cluster.termination.state if cluster.termination else model.TERMINATED


def _end_step(step: EmulatedStep, state: str, message: str) -> None:
    step.state, step.message, step.timeline.ended = state, message, time.time()
