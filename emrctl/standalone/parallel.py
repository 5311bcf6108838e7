"""Run work on the nodes of a cluster in parallel over SSH, and report the nodes that failed."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Self, TypeVar

from emrctl.aws.target import Target
from emrctl.clusters.model import Cluster, Node
from emrctl.clusters.stop_start import NodeReport, no_node_report
from emrctl.errors import (
    EmrctlError,
    HostKeyError,
    MissingPrerequisiteError,
    NoConsoleOutputError,
    ProvisioningError,
    UnreachableError,
    UsageError,
)
from emrctl.remote import nodes
from emrctl.remote.nodes import Login
from emrctl.remote.ssh import SshConnection, upload

T = TypeVar("T")
# A running node accepts connections at once, a booting one within a minute or two.
RUNNING_TIMEOUT_S, BOOT_TIMEOUT_S = 30.0, 300.0
_RETRY_S = 3.0
_LAST_LINES, _SHOWN_LINES = 20, 5
_NO_SPACE = ("No space left on device", "Disk quota exceeded", "[Errno 28]")


@dataclass(frozen=True, kw_only=True)
class NodeFailure:
    """What failed on one node; `lines` are the last of its output."""

    node: str
    id: str
    what: str
    lines: Sequence[str] = ()
    hint: str = ""

    def __str__(self) -> str:
        """Return the node's name and id, the failure and the last lines of output."""
        output = "".join(f"\n    {line}" for line in self.lines[-_SHOWN_LINES:])
        return f"{self.node} ({self.id}): {self.what}{output}"


class NodesFailedError(ProvisioningError):
    """An operation failed on some nodes; `failures` has them by name."""

    def __init__(self, action: str, failures: Mapping[str, NodeFailure], *, hint: str = "") -> None:
        """Describe the failures of `action`; their own hints take precedence over `hint`."""
        self.failures = dict(failures)
        nodes = f"{len(failures)} nodes" if len(failures) > 1 else next(iter(failures))
        details = "".join(f"\n  {failure}" for failure in failures.values())
        hints = dict.fromkeys(item.hint for item in failures.values() if item.hint)
        super().__init__(f"{action} failed on {nodes}:{details}", hint=" ".join(hints) or hint)


class ScriptFailedError(ProvisioningError):
    """A script failed on a node; `lines` are the last of its output."""

    def __init__(self, script: str, code: int, lines: Sequence[str]) -> None:
        """Describe the exit code, and a full disk if the output mentions one."""
        self.lines = tuple(lines)
        full = any(word in line for line in lines for word in _NO_SPACE)
        ended = "timed out" if code == 124 else f"ended with exit code {code}"
        why = ": its disk is full" if full else ""
        hint = "Set a larger root_gb; `emrctl up` then replaces the node." if full else ""
        super().__init__(f"{script} {ended}{why}", hint=hint)


def combine(action: str, errors: Mapping[tuple[str, str], EmrctlError]) -> EmrctlError:
    """Return one error for those of several nodes, by name and id; host key errors come first."""
    for (name, _), error in errors.items():
        if isinstance(error, HostKeyError):
            return HostKeyError(f"{name}: {error.message}", hint=error.hint)
    failures = {
        name: NodeFailure(
            node=name,
            id=id_,
            what=error.message,
            lines=error.lines if isinstance(error, ScriptFailedError) else (),
            hint=error.hint,
        )
        for (name, id_), error in errors.items()
    }
    hint = (
        "Run `emrctl up` again to continue; --replace NAME replaces a worker, --give-up "
        "terminates those that fail."
    )
    if all(isinstance(error, UnreachableError) for error in errors.values()):
        hint = "Run `emrctl up` again once they accept connections."
    return NodesFailedError(action, failures, hint=hint)


# --- nodes ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class ConnectedNode:
    """A node and its SSH connection; lines of output go to `report`."""

    node: Node
    connection: SshConnection
    report: NodeReport

    @property
    def name(self) -> str:
        """The node's name: `primary`, `worker-1`."""
        return self.node.name

    def run(self, command: str) -> int:
        """Run the command, report its output, and return its exit code."""
        return CommandOutput(functools.partial(self.report, self.name)).run(self, command)

    def check(self, name: str, command: str) -> None:
        """Run the command and report its output; `ScriptFailedError` with `name` if it fails."""
        self._checked(name, command, b"", functools.partial(self.report, self.name))

    def query(self, command: str, stdin: bytes = b"") -> str:
        """Run the command and return its standard output; `ScriptFailedError` if it fails."""
        return self._checked(command.split(maxsplit=1)[0], command, stdin, _discard)

    def _checked(self, name: str, command: str, stdin: bytes, report: Callable[[str], None]) -> str:
        output = CommandOutput(report)
        code = output.run(self, command, stdin)
        if code:
            raise ScriptFailedError(name, code, tuple(output.last))
        return output.stdout


def _discard(_line: str) -> None:
    """Ignore a line of output."""


class CommandOutput:
    """The output of a command: `stdout`, and the last lines of both streams."""

    def __init__(self, report: Callable[[str], None] = _discard) -> None:
        """Pass whole lines to `report` as they arrive."""
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self.stdout = ""
        self._report = report
        self._lock = threading.Lock()

    def run(self, node: ConnectedNode, command: str, stdin: bytes = b"") -> int:
        """Run the command on the node until it ends; return its exit code."""
        out, err = _LineBuffer(self._add), _LineBuffer(self._add)
        code = node.connection.run(command, out, err, stdin)
        out.end()
        err.end()
        self.stdout = "\n".join(out.lines)
        return code

    def _add(self, line: str) -> None:
        with self._lock:
            self.last.append(line)
            self._report(line)


@dataclass(eq=False)
class _LineBuffer:
    """Splits bytes into lines, reports and keeps them."""

    report: Callable[[str], None]
    lines: list[str] = field(default_factory=list)
    _rest: bytes = b""

    def write(self, text: bytes) -> None:
        *lines, self._rest = (self._rest + text).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self.lines.append(line.decode(errors="replace"))
            self.report(self.lines[-1])

    def flush(self) -> None:
        """Do nothing: lines are reported as soon as they are complete."""

    def end(self) -> None:
        if self._rest:
            self.write(b"\n")


@dataclass(eq=False)
class ParallelNodes:
    """Connections to a cluster's nodes; `timeout_s` is how long to wait for each SSH server."""

    target: Target
    cluster: Cluster
    report: NodeReport = no_node_report
    login: Login = field(default_factory=Login)
    timeout_s: float = RUNNING_TIMEOUT_S
    nodes: tuple[ConnectedNode, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        """Prepare the connections; each is opened when it is first used."""
        keys = nodes.identities(self.target, self.cluster, self.login)
        primary = nodes.find_node(self.cluster)
        connections = {
            node.id: nodes.connection_to(self.target, node, self.login, keys)
            for node in self.cluster.nodes
        }
        for node in self.cluster.nodes:
            connection = connections[node.id]
            connection.report = functools.partial(self._report, node.name)
            if not nodes.is_direct(node, primary):
                connection.set_jump(connections[primary.id], node.private_ip or node.private_dns)
        self.nodes = tuple(
            ConnectedNode(node, connections[node.id], self._report) for node in self.cluster.nodes
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections and stop waiting for nodes."""
        self._closed.set()
        for node in self.nodes:
            node.connection.close()

    def find(self, name: str) -> ConnectedNode:
        """Return the node with that name or id; `NotFoundError` lists the nodes."""
        found = nodes.find_node(self.cluster, name)
        return next(node for node in self.nodes if node.node == found)

    def each(
        self,
        action: str,
        work: Callable[[ConnectedNode], T],
        selected: Sequence[ConnectedNode] | None = None,
    ) -> dict[str, T]:
        """Run `work` on all nodes in parallel; return the results by name.

        Once all have ended, `NodesFailedError` names the nodes where `action` failed, or
        `HostKeyError` the one whose host key does not match.
        """
        selected = self.nodes if selected is None else selected
        queue: SimpleQueue[tuple[ConnectedNode, T | BaseException]] = SimpleQueue()
        for node in selected:
            arguments = (node, work, queue)
            threading.Thread(target=_work, args=arguments, name=node.name, daemon=True).start()
        results = dict(queue.get() for _ in selected)
        errors = {}
        for node in selected:
            result = results[node]
            if isinstance(result, EmrctlError):
                errors[node.name, node.node.id] = result
            elif isinstance(result, BaseException):
                raise result
        if errors:
            raise combine(action, errors)
        return {node.name: result for node, result in results.items()}  # type: ignore[misc]

    def wait_for_ssh(self, node: ConnectedNode) -> None:
        """Connect to the node; `UnreachableError` if that fails for `timeout_s`."""
        deadline, reported = time.monotonic() + self.timeout_s, False
        while True:
            try:
                node.connection.transport()
            except MissingPrerequisiteError:
                raise
            except (UnreachableError, NoConsoleOutputError) as error:
                if time.monotonic() > deadline or self._closed.is_set():
                    raise
                if not reported:
                    self._report(node.name, f"waiting for SSH: {error.message}")
                reported = True
                self._closed.wait(min(_RETRY_S, max(self.target.poll_s, 0.1)))
            else:
                return

    def _report(self, node: str, line: str) -> None:
        with self._lock:
            self.report(node, line)


def _work(
    node: ConnectedNode,
    work: Callable[[ConnectedNode], T],
    queue: SimpleQueue[tuple[ConnectedNode, T | BaseException]],
) -> None:
    try:
        queue.put((node, work(node)))
    except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
        queue.put((node, error))


def exec_on(cluster: ParallelNodes, command: str, names: Sequence[str] = ()) -> dict[str, int]:
    """Run the command on the named nodes, or on all; return the exit codes by name.

    Output is reported line by line. `NodesFailedError` names unreachable nodes.
    """

    def work(node: ConnectedNode) -> int:
        cluster.wait_for_ssh(node)
        return node.run(command)

    return cluster.each("connecting", work, _selected(cluster, names))


def copy(cluster: ParallelNodes, source: Path, destination: str, names: Sequence[str] = ()) -> int:
    """Copy a file, or a folder with its content, to the nodes; return the files per node.

    It keeps its name in a destination that ends with a slash or is a folder there. Relative
    destinations are below the user's home.
    """
    if not source.exists():
        raise UsageError(f"no file or folder {source}", hint="Check the path.")

    def work(node: ConnectedNode) -> int:
        cluster.wait_for_ssh(node)
        return upload(node.connection, source, destination)

    return max(cluster.each("copying", work, _selected(cluster, names)).values(), default=0)


def _selected(cluster: ParallelNodes, names: Sequence[str]) -> list[ConnectedNode]:
    return [cluster.find(name) for name in names] or list(cluster.nodes)
