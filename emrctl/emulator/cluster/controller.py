"""A cluster's life: through its states, its queue of steps, and to its end.

One thread keeps each cluster. It alone moves the cluster from state to state, except that an
ending may be asked for from anywhere (`Cluster.end`), which makes it TERMINATING at once.
Whatever goes wrong in a thread is logged and becomes a state: nobody stands above to catch it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.model import EmulatedCluster, EmulatedNode, EmulatedStep, Termination
from emrctl.emulator.cluster.runtime import BootstrapFailedError, ClusterRuntime, StepResult

_log = logging.getLogger(__name__)

_READY = "Cluster ready to run steps. (local)"
_READY_AGAIN = "Cluster ready after last step completed. (local)"
_STEP_RUNS = "Running step (local)"


class ClusterController:
    """Keeps one cluster, from STARTING until it has ended."""

    def __init__(
        self,
        cluster: EmulatedCluster,
        runtime: ClusterRuntime,
        release: Callable[[Sequence[EmulatedNode]], None],
    ) -> None:
        """`release` gives the EC2 records of nodes back."""
        self.cluster = cluster
        self.runtime = runtime
        self.release = release
        self.running: list[threading.Thread] = []
        self.leaving = threading.Event()
        self.thread = threading.Thread(target=self._live, name=cluster.id, daemon=True)

    def start(self) -> None:
        """The cluster's life has begun."""
        self.thread.start()

    def terminate(self, ending: Termination) -> None:
        """The cluster is TERMINATING, and what runs for it is being ended."""
        self.cluster.end(ending)
        threading.Thread(target=self._halt, daemon=True).start()

    def _halt(self) -> None:
        """What runs is ended, and what starts at this very moment as well."""
        while not self.leaving.is_set():
            self.runtime.halt(self.cluster)
            self.leaving.wait(0.5)

    def cancel(self, step: EmulatedStep, *, kill: bool) -> None:
        """A pending step is CANCELLED, a running one CANCEL_PENDING and told to end."""
        with self.cluster.changed:
            step.cancelled = True
            if step.state == model.PENDING:
                _finish(step, model.CANCELLED, "Cancelled by user")
                self.cluster.changed.notify_all()
                return
            step.state = model.CANCEL_PENDING
        arguments = {"kill": kill}
        threading.Thread(
            target=self.runtime.cancel, args=(self.cluster, step), kwargs=arguments, daemon=True
        ).start()

    def grow(self, nodes: Sequence[EmulatedNode]) -> None:
        """In a while the new nodes have booted and work for the cluster."""
        threading.Thread(target=self._grow, args=(nodes,), daemon=True).start()

    def shrink(self, nodes: Sequence[EmulatedNode]) -> None:
        """In a while the nodes are terminated."""
        threading.Thread(target=self._shrink, args=(nodes,), daemon=True).start()

    # -- the keeper's thread

    def _live(self) -> None:
        try:
            self._bring_up()
            self._serve()
        except BootstrapFailedError as error:
            self.cluster.end(bootstrap_ending(error))
        except Exception as error:  # noqa: BLE001
            _log.exception("cluster %s", self.cluster.id)
            self.cluster.end(
                Termination(
                    code="INTERNAL_ERROR",
                    message=f"{error} (local)",
                    state=model.TERMINATED_WITH_ERRORS,
                )
            )
        self._end()

    def _bring_up(self) -> None:
        cluster = self.cluster
        self._enter(model.BOOTSTRAPPING, "Running bootstrap actions (local)")
        self._mark(cluster.nodes, "BOOTSTRAPPING")
        self.runtime.boot(cluster, cluster.nodes)
        if cluster.ending is None:
            self.runtime.start(cluster)
        self._mark(cluster.nodes, model.RUNNING)
        with cluster.changed:
            cluster.times.ready = time.time()
            if not cluster.steps:
                self._enter(model.WAITING, " ".join([_READY, *cluster.warnings]))

    def _enter(self, state: str, message: str) -> None:
        with self.cluster.changed:
            if self.cluster.ending is None:
                self.cluster.state, self.cluster.message = state, message
            self.cluster.changed.notify_all()

    def _mark(self, nodes: Sequence[EmulatedNode], state: str) -> None:
        with self.cluster.changed:
            for node in nodes:
                if node.alive:
                    node.state = state
                    if state == model.RUNNING:
                        node.times.ready = time.time()
            for group in {id(node.group): node.group for node in nodes}.values():
                group.state = state
                if state == model.RUNNING:
                    group.times.ready = group.times.ready or time.time()
            self.cluster.changed.notify_all()

    def _serve(self) -> None:
        cluster = self.cluster
        with cluster.changed:
            while cluster.ending is None:
                self._dispatch()
                self._settle()
                self._end_if_idle()
                if cluster.ending is None:
                    cluster.changed.wait(timeout=self._patience())

    def _dispatch(self) -> None:
        """As many steps run as may, in the order in which they came."""
        self.running = [thread for thread in self.running if thread.is_alive()]
        busy = sum(
            1 for s in self.cluster.steps if s.state in (model.RUNNING, model.CANCEL_PENDING)
        )
        waiting = [step for step in self.cluster.steps if step.state == model.PENDING]
        for step in waiting[: max(0, self.cluster.concurrency - busy)]:
            step.state, step.times.ready = model.RUNNING, time.time()
            thread = threading.Thread(target=self._run, args=(step,), daemon=True)
            self.running.append(thread)
            thread.start()

    def _settle(self) -> None:
        cluster = self.cluster
        if any(step.unfinished for step in cluster.steps):
            cluster.idle_since = None
            self._enter_once(model.RUNNING, _STEP_RUNS)
        elif cluster.keep_alive:
            cluster.idle_since = cluster.idle_since or time.time()
            message = _READY_AGAIN if cluster.steps else _READY
            self._enter_once(model.WAITING, " ".join([message, *cluster.warnings]))
        else:
            cluster.end(Termination(code="ALL_STEPS_COMPLETED", message="Steps completed (local)"))

    def _enter_once(self, state: str, message: str) -> None:
        if self.cluster.state != state:
            self._enter(state, message)

    def _end_if_idle(self) -> None:
        cluster = self.cluster
        left = self._patience()
        if cluster.idle_since is not None and left is not None and left <= 0:
            cluster.end(
                Termination(
                    code="USER_REQUEST",
                    message="Terminated by auto-termination: it was idle too long (local)",
                )
            )

    def _patience(self) -> float | None:
        """How long the cluster may still be idle; None where nothing limits that."""
        cluster = self.cluster
        if cluster.idle_since is None or cluster.auto_termination is None or cluster.protected:
            return None
        allowed = float(cluster.auto_termination.get("IdleTimeout", 3600))
        return max(0.0, cluster.idle_since + allowed - time.time())

    # -- a step's thread

    def _run(self, step: EmulatedStep) -> None:
        try:
            outcome = self.runtime.run(self.cluster, step)
        except Exception as error:  # noqa: BLE001
            _log.exception("step %s of %s", step.id, self.cluster.id)
            outcome = StepResult(exit_code=1, reason="Unknown Error.", message=str(error))
        with self.cluster.changed:
            self._conclude(step, outcome)
            self.cluster.changed.notify_all()

    def _conclude(self, step: EmulatedStep, outcome: StepResult) -> None:
        if step.cancelled and outcome.exit_code != 0:
            _finish(step, model.CANCELLED, "Cancelled by user")
        elif self.cluster.ending is not None and outcome.exit_code != 0:
            _finish(step, model.INTERRUPTED, "The cluster ended while the step ran")
        elif outcome.exit_code == 0:
            _finish(step, model.COMPLETED, "")
        else:
            _finish(step, model.FAILED, "")
            parts = {
                "Reason": outcome.reason,
                "Message": outcome.message,
                "LogFile": outcome.log_file,
            }
            step.failure = {key: value for key, value in parts.items() if value}
            self._act_on_failure(step)

    def _act_on_failure(self, step: EmulatedStep) -> None:
        cluster = self.cluster
        if cluster.concurrency > 1 or step.action == "CONTINUE":
            return
        if step.action in ("TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW") and not cluster.protected:
            message = f"Shut down as step failed: {step.id} (local)"
            state = model.TERMINATED_WITH_ERRORS
            cluster.end(Termination(code="STEP_FAILURE", message=message, state=state))
            return
        for other in cluster.steps:
            if other.state == model.PENDING:
                _finish(other, model.CANCELLED, f"Step {step.id} failed before it")

    # -- resizing

    def _grow(self, nodes: Sequence[EmulatedNode]) -> None:
        try:
            self._mark(nodes, "BOOTSTRAPPING")
            self.runtime.boot(self.cluster, nodes)
            self.runtime.join(self.cluster, nodes)
        except Exception as error:  # noqa: BLE001
            _log.exception("growing %s", self.cluster.id)
            with self.cluster.changed:
                for node in nodes:
                    node.reason = str(error)
                    node.group.count -= 1
            self._shrink(nodes)
            return
        self._mark(nodes, model.RUNNING)

    def _shrink(self, nodes: Sequence[EmulatedNode]) -> None:
        self.runtime.leave(self.cluster, nodes)
        self.release(nodes)
        with self.cluster.changed:
            for node in nodes:
                node.state, node.times.ended = model.TERMINATED, time.time()
                node.group.state = model.RUNNING
            self.cluster.changed.notify_all()

    # -- the end

    def _end(self) -> None:
        cluster = self.cluster
        with cluster.changed:
            for step in cluster.steps:
                if step.state == model.PENDING:
                    _finish(step, model.CANCELLED, "The cluster ended before the step ran")
        self.leaving.set()
        self.runtime.halt(cluster)
        for thread in self.running:
            thread.join(timeout=30)
        try:
            self.runtime.stop(cluster)
        except Exception:  # noqa: BLE001
            _log.exception("ending %s", cluster.id)
        self.release(cluster.live_nodes)
        self._bury()

    def _bury(self) -> None:
        cluster, now = self.cluster, time.time()
        with cluster.changed:
            for node in cluster.live_nodes:
                node.state, node.times.ended = model.TERMINATED, now
            for group in cluster.groups:
                group.state, group.times.ended = model.TERMINATED, now
            for step in cluster.steps:
                if step.unfinished:
                    _finish(step, model.INTERRUPTED, "The cluster ended while the step ran")
            cluster.times.ended = now
            cluster.state = cluster.ending.state if cluster.ending else model.TERMINATED
            cluster.changed.notify_all()


def _finish(step: EmulatedStep, state: str, message: str) -> None:
    step.state, step.message, step.times.ended = state, message, time.time()


def bootstrap_ending(error: BootstrapFailedError) -> Termination:
    """What EMR says when a bootstrap action failed: in words, and for programs."""
    role = "master" if error.node.primary else "worker"
    what = error.error or "returned a non-zero return code"
    message = (
        f"On the {role} instance ({error.node.ec2_id}), bootstrap action {error.number} {what}"
    )
    suffix = "PRIMARY" if error.node.primary else "WORKER"
    kind = "BA_DOWNLOAD_FAILED_" if error.error else ""
    code = f"BOOTSTRAP_FAILURE_{kind}{suffix}" + ("" if error.error else "_WITH_NON_ZERO_CODE")
    details = {
        "ErrorCode": code,
        "ErrorMessage": message,
        "ErrorData": [
            {"instance-id": error.node.ec2_id, "bootstrap-action": str(error.number)},
            {"exit-code": str(error.exit_code)},
        ],
    }
    return Termination(
        code="BOOTSTRAP_FAILURE",
        message=f"{message} (local)",
        state=model.TERMINATED_WITH_ERRORS,
        details=(details,),
    )
