"""One stack in the hands of the real engine, from the first command to the last."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi.automation as auto

from emrctl.aws.target import Target
from emrctl.engine.base import Program
from emrctl.engine.embedded.evaluate import PROJECT
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.engine.outcomes import failed, interrupted
from emrctl.engine.pulumi import binary
from emrctl.engine.pulumi import errors as pulumi_errors
from emrctl.engine.pulumi.events import EventListener
from emrctl.engine.pulumi.grpc_provider import PACKAGE, serve_provider
from emrctl.engine.pulumi.journal import CreateJournal
from emrctl.engine.pulumi.language_host import LanguageHost, hosted
from emrctl.engine.pulumi.snapshot import Snapshot
from emrctl.engine.pulumi.state_backend import StateBackend
from emrctl.errors import EmrctlError

_ATTACHED = "PULUMI_DEBUG_PROVIDERS"
# The version of a folder's state files that is read here; any other is the engine's to read.
_CHECKPOINT = 3


class _Stack(auto.Stack):
    """A stack that asks the engine for nothing besides: each question is another process.

    The snapshot tells whether it exists, its outputs and what an operation did.
    """

    def __init__(self, name: str, workspace: auto.LocalWorkspace) -> None:
        self.name = name
        self.workspace = workspace

    def outputs(self) -> Any:
        """Nothing: they are read from the snapshot."""
        return {}

    def info(self, show_secrets: bool = True) -> Any:  # noqa: ARG002  # the API's signature
        """Nothing, but not None."""
        return ()


class _Workspace(auto.LocalWorkspace):
    """A workspace whose operations run the program of `client`, an address, where there is one."""

    client: str | None = None

    def serialize_args_for_op(self, stack_name: str) -> list[str]:  # noqa: ARG002  # the API's
        """What every operation's command gets besides."""
        return [f"--client={self.client}"] if self.client else []


class Session:
    """Runs the engine's operations on one stack; its errors leave as ours.

    `cancel` may be called from another thread: it raises the flag `cancelled`, the operation ends
    in order, and `StackInterruptedError` says what stands.
    """

    def __init__(self, target: Target, place: StateBackend, stack: str) -> None:
        self._target = target
        self.name = stack
        self._place = place.made()
        self._engine = binary.find()
        self._command = binary.EngineCommand(self._engine)
        self.cancelled = threading.Event()
        self._waits = threading.Event()
        self._workspace = _Workspace(
            work_dir=str(place.work),
            env_vars=place.environment(),
            secrets_provider=place.secrets_provider,
            project_settings=_project(place.work),
            pulumi_command=self._command,
        )
        self._stack = _Stack(stack, self._workspace)
        self._seen: Snapshot | None = None
        self.forgotten = False

    def cancel(self) -> None:
        """What runs ends in order."""
        self.cancelled.set()
        self._waits.set()
        self._command.interrupt()

    def exists(self) -> bool:
        """Whether the place knows the stack."""
        try:
            self.snapshot()
        except auto.StackNotFoundError:
            return False
        return True

    def create(self) -> None:
        """The place knows the stack, which holds nothing."""
        self._configure()
        self._plainly(lambda: self._workspace.create_stack(self.name))
        self._seen = Snapshot({})

    def snapshot(self) -> Snapshot:
        """What the state says of the stack."""
        if self._seen is None:
            found = self._read()
            if found is None:
                found = self._plainly(self._stack.export_stack).deployment
            self._seen = Snapshot(found)
        return self._seen

    def _read(self) -> Mapping[str, Any] | None:
        """The deployment from a folder's own file, which saves a process; None where it cannot."""
        path = self._place.checkpoint(PROJECT, self.name)
        if path is None:
            return None
        try:
            document = json.loads(path.read_text())
            if document["version"] == _CHECKPOINT:
                return document["checkpoint"].get("latest") or {}
        except (OSError, json.JSONDecodeError, KeyError, AttributeError):
            pass  # `export` knows what to make of it
        return None

    def restore(self, document: dict[str, Any]) -> None:
        """The state says `document`."""
        deployment = auto.Deployment(version=3, deployment=document)
        self._seen = None
        self._plainly(lambda: self._stack.import_stack(deployment))

    def ask(self, *arguments: str) -> str:
        """What the engine answers to a command on the stack."""
        self._seen = None
        words = [*arguments, "--stack", self.name]
        place = self._workspace
        found = self._plainly(
            lambda: self._command.run(words, place.work_dir, dict(place.env_vars))
        )
        return str(found.stdout)

    def history(self) -> list[dict[str, Any]]:
        """The place's record of all that was done to the stack, the last first."""
        found: list[dict[str, Any]] = json.loads(self.ask("stack", "history", "--json") or "[]")
        return found

    def names(self) -> list[str]:
        """Every stack of the project that the place knows."""
        found = self._plainly(self._workspace.list_stacks)
        return sorted(item.name.rpartition("/")[2] for item in found)

    def forget(self, *, force: bool = False) -> None:
        """The place does not know the stack any more."""
        self._plainly(lambda: self._workspace.remove_stack(self.name, force=force))
        self.forgotten = True

    def operate(
        self,
        verb: str,
        heard: EventListener,
        program: Program | None = None,
        **options: Any,
    ) -> None:
        """`verb` of the Automation API has run to its end."""
        if self.cancelled.is_set():
            raise OperationCancelledError
        options |= {"on_event": heard.hear, "color": "never"}
        self._configure()
        self._seen = None
        with self._provider() as failures, self._hosted(program) as host:
            try:
                self._unlocked(lambda: getattr(self._stack, verb)(**options))
            except auto.CommandError as error:
                if host is not None and host.error is not None:
                    raise host.error from error
                raise self._explained(error, heard, failures) from error

    def _unlocked(self, run: Callable[[], Any]) -> Any:
        """`run`, again where the lock's holder was killed: nobody else would take it away."""
        try:
            return run()
        except auto.ConcurrentUpdateError as error:
            who = pulumi_errors.holder(str(error))
            if who is None or not who.dead:
                raise
            self._stack.cancel()
            return run()

    @contextlib.contextmanager
    def _hosted(self, program: Program | None) -> Iterator[LanguageHost | None]:
        if program is None:
            yield None
            return
        with hosted(program) as (host, address):
            self._workspace.client = address
            try:
                yield host
            finally:
                self._workspace.client = None

    def _explained(
        self, error: Exception, heard: EventListener, failures: list[EmrctlError]
    ) -> EmrctlError:
        """Why the engine failed, and what stands."""
        said = str(error)
        if isinstance(error, auto.ConcurrentUpdateError):
            return pulumi_errors.locked(self.name, said)
        standing = self.snapshot().entries
        if self.cancelled.is_set():
            return interrupted(self.name, standing)
        errors = list(failures) or pulumi_errors.told(heard) or [pulumi_errors.of_engine(said)]
        return failed(self.name, errors, standing)

    @contextlib.contextmanager
    def _provider(self) -> Iterator[list[EmrctlError]]:
        """Something answers for AWS: the local provider, one that is attached, or the plugin."""
        if self._target.kind == "local":
            # One for each operation: at the end of it the engine raises the provider's flag.
            self._waits = threading.Event()
            if self.cancelled.is_set():
                self._waits.set()
            journal = CreateJournal(self._place.work / f"{self.name}.begun")
            with serve_provider(self._target, self._waits, journal) as found:
                attached = {_ATTACHED: found.attached}
                self._workspace.env_vars = {**self._workspace.env_vars, **attached}
                yield found.failures
            return
        if f"{PACKAGE}:" not in os.environ.get(_ATTACHED, ""):
            self._require_plugin()
        yield []

    def _require_plugin(self) -> None:
        if not binary.has_plugin(self._engine):
            msg = f"the engine has no AWS plugin of version {binary.plugin_version()}"
            hint = "Type `emrctl engine install`: it asks, and fetches about 700 MB once."
            raise binary.EngineMissingError(msg, hint=hint)

    def _configure(self) -> None:
        """The stack's own settings are the place's; what Pulumi wrote there stays."""
        try:
            found = self._workspace.stack_settings(self.name)
        except FileNotFoundError:
            found = auto.StackSettings()
        config = {**(found.config or {}), **self._place.config}
        if config and config != found.config:
            found.config = config
            self._workspace.save_stack_settings(self.name, found)

    def _plainly(self, run: Callable[[], Any]) -> Any:
        """A command that touches the state alone."""
        try:
            return self._unlocked(run)
        except auto.StackNotFoundError:
            raise
        except auto.ConcurrentUpdateError as error:
            raise pulumi_errors.locked(self.name, str(error)) from error
        except auto.CommandError as error:
            found = pulumi_errors.of_engine(str(error))
            found.message = f"stack {self.name}: {found.message}"
            found.args = (found.message,)
            raise found from error


def _project(work: Path) -> auto.ProjectSettings | None:
    """The project's settings where they are not written yet: two processes may start at once."""
    if (work / "Pulumi.yaml").exists():
        return None
    return auto.ProjectSettings(name=PROJECT, runtime="python")
