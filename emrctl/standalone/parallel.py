"""The nodes of a cluster, reached side by side: what is done on one is done on all at once."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self, TypeVar

from emrctl.errors import EmrctlError
from emrctl.remote import nodes
from emrctl.remote.errors import MissingPrerequisiteError, NoConsoleOutputError, UnreachableError
from emrctl.remote.nodes import Login
from emrctl.remote.ssh import SshConnection
from emrctl.standalone.errors import ScriptFailedError, gathered

if TYPE_CHECKING:
    from emrctl.aws.target import Target
    from emrctl.clusters.model import Cluster, Node

T = TypeVar("T")
Report = Callable[[str, str], None]
# A node that runs answers at once; one that boots, within a minute or two.
ANSWER_S, BOOT_S = 30.0, 300.0
_AGAIN_S = 3.0
_LAST_LINES = 20


@dataclass(eq=False)
class Member:
    """A node with a line to it; what it says goes to `report` line by line."""

    node: Node
    line: SshConnection
    report: Report

    @property
    def name(self) -> str:
        """`primary`, `worker-1`."""
        return self.node.name

    def ran(self, what: str, command: str, stdin: bytes = b"") -> str:
        """What the command wrote to its output, once it has ended well; its lines are reported.

        `ScriptFailedError` calls it `what` where it has not.
        """
        said = Said(functools.partial(self.report, self.name))
        code = said.by(self.line, command, stdin)
        if code:
            raise ScriptFailedError(what, code, tuple(said.last))
        return said.out

    def asked(self, command: str, stdin: bytes = b"") -> str:
        """Likewise, and nobody hears of it while it runs."""
        quiet = Member(self.node, self.line, lambda _name, _line: None)
        return quiet.ran(command.split(maxsplit=1)[0], command, stdin)

    def code_of(self, command: str) -> int:
        """The command's exit code; its lines are reported."""
        return Said(functools.partial(self.report, self.name)).by(self.line, command)


class Said:
    """What a command said: its output, and the last lines of output and errors together."""

    def __init__(self, tell: Callable[[str], None] = lambda _line: None) -> None:
        """Pass whole lines on to `tell` as they come."""
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self.out = ""
        self._tell = tell
        self._lock = threading.Lock()

    def by(self, line: SshConnection, command: str, stdin: bytes = b"") -> int:
        """The command's exit code, once it has run over the line and said all."""
        out, err = _Lines(self._add), _Lines(self._add)
        code = line.run(command, out, err, stdin)
        out.end()
        err.end()
        self.out = "\n".join(out.all)
        return code

    def _add(self, line: str) -> None:
        with self._lock:
            self.last.append(line)
            self._tell(line)


@dataclass(eq=False)
class _Lines:
    """Takes bytes, passes on whole lines and keeps them."""

    tell: Callable[[str], None]
    all: list[str] = field(default_factory=list)
    _rest: bytes = b""

    def write(self, text: bytes) -> None:
        *lines, self._rest = (self._rest + text).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self.all.append(line.decode(errors="replace"))
            self.tell(self.all[-1])

    def flush(self) -> None:
        """Lines are passed on as soon as they are whole."""

    def end(self) -> None:
        if self._rest:
            self.write(b"\n")


@dataclass(eq=False)
class Crew:
    """A cluster's nodes; `answer_s` is how long a node may take until it answers."""

    target: Target
    cluster: Cluster
    report: Report = lambda _node, _line: None
    login: Login = field(default_factory=Login)
    answer_s: float = ANSWER_S
    members: tuple[Member, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        """Nodes are known; each is reached when it is first needed."""
        keys = nodes.identities(self.target, self.cluster, self.login)
        primary = nodes.find_node(self.cluster)
        lines = {
            node.id: nodes.connection_to(self.target, node, self.login)
            for node in self.cluster.nodes
        }
        members = []
        for node in self.cluster.nodes:
            line = lines[node.id]
            line.identities = keys
            line.report = functools.partial(self._tell, node.name)
            if not nodes.is_direct(node, primary):
                line.host = nodes.with_private_address(line.host, node)
                line.jump = lines[primary.id]
            members.append(Member(node, line, self._tell))
        self.members = tuple(members)
        return self

    def __exit__(self, *_: object) -> None:
        """No line is left; whatever still waits for a node ends."""
        self._over.set()
        for member in self.members:
            member.line.close()

    def member(self, name: str) -> Member:
        """The node of that name or id; `NotFoundError` names those that there are."""
        node = nodes.find_node(self.cluster, name)
        return next(member for member in self.members if member.node == node)

    def each(
        self, doing: str, work: Callable[[Member], T], members: Sequence[Member] | None = None
    ) -> dict[str, T]:
        """What the work came to on each node, all side by side.

        Every node's work is let come to its end; then `NodesFailedError` names those where it
        failed, or `HostKeyError` the one that is not who it should be.
        """
        wanted = self.members if members is None else members
        ended: SimpleQueue[tuple[Member, T | BaseException]] = SimpleQueue()
        for member in wanted:
            arguments = (member, work, ended)
            threading.Thread(target=_one, args=arguments, name=member.name, daemon=True).start()
        found = [ended.get() for _ in wanted]
        errors = {}
        for member, result in found:
            if isinstance(result, EmrctlError):
                errors[member.name, member.node.id] = result
            elif isinstance(result, BaseException):
                raise result
        if errors:
            order = {member.name: number for number, member in enumerate(self.members)}
            raise gathered(doing, dict(sorted(errors.items(), key=lambda one: order[one[0][0]])))
        return {member.name: result for member, result in found}  # type: ignore[misc]

    def reached(self, member: Member) -> None:
        """The node's SSH server answers; `UnreachableError` where it does not within `answer_s`."""
        end, told = time.monotonic() + self.answer_s, False
        while True:
            try:
                member.line.transport()
            except MissingPrerequisiteError:
                raise
            except (UnreachableError, NoConsoleOutputError) as error:
                if time.monotonic() > end or self._over.is_set():
                    raise
                if not told:
                    self._tell(member.name, f"waiting until it answers: {error.message}")
                told = True
                self._over.wait(min(_AGAIN_S, max(self.target.poll_s, 0.1)))
            else:
                return

    def _tell(self, node: str, line: str) -> None:
        with self._lock:
            self.report(node, line)


def _one(
    member: Member,
    work: Callable[[Member], T],
    ended: SimpleQueue[tuple[Member, T | BaseException]],
) -> None:
    try:
        ended.put((member, work(member)))
    except BaseException as error:  # noqa: BLE001 - whoever waits for the thread raises it
        ended.put((member, error))
