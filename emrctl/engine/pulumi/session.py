"""Operations of Pulumi's engine on one stack."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pulumi.automation as auto

from emrctl.aws.target import Target
from emrctl.engine.base import Program, update_failed, update_interrupted
from emrctl.engine.embedded.engine import PROJECT
from emrctl.engine.localhost.resource_type import OperationCancelledError
from emrctl.engine.pulumi import binary
from emrctl.engine.pulumi.grpc_provider import PACKAGE, CreateJournal, serve_provider
from emrctl.engine.pulumi.language_host import LanguageHost, serve_program
from emrctl.engine.pulumi.output import (
    EventListener,
    engine_error,
    lock_holder,
    locked,
    resource_errors,
)
from emrctl.engine.pulumi.snapshot import Snapshot
from emrctl.engine.pulumi.state_backend import StateBackend
from emrctl.errors import EmrctlError

_ATTACHED = "PULUMI_DEBUG_PROVIDERS"
# The version of a folder backend's checkpoint files that `_read_checkpoint` supports.
_CHECKPOINT_VERSION = 3


class _Stack(auto.Stack):
    """A stack that does not query outputs and summary after an operation.

    Each query would be another process; the snapshot has both.
    """

    def __init__(self, name: str, workspace: auto.LocalWorkspace) -> None:
        self.name = name
        self.workspace = workspace

    def outputs(self) -> Any:
        """Return nothing."""
        return {}

    def info(self, show_secrets: bool = True) -> Any:  # noqa: ARG002  # the API's signature
        """Return nothing; the API requires a value other than None."""
        return ()


class _Workspace(auto.LocalWorkspace):
    """A workspace whose operations use the language host at the address `client`."""

    client: str | None = None

    def serialize_args_for_op(self, stack_name: str) -> list[str]:  # noqa: ARG002  # the API's
        """Return additional arguments of an operation."""
        return [f"--client={self.client}"] if self.client else []


class Session:
    """Runs the engine's operations on one stack and raises emrctl's errors.

    `cancel` may be called from another thread: the current operation ends and raises
    `StackInterruptedError`.
    """

    def __init__(self, target: Target, backend: StateBackend, stack: str) -> None:
        self._target = target
        self.name = stack
        backend.create_folders()
        self._backend = backend
        self._engine = binary.find()
        self._command = binary.EngineCommand(self._engine)
        self.cancelled = threading.Event()
        self._stop_provider = threading.Event()
        # Not rewritten if it exists: two processes may start at once.
        has_project = (backend.work / "Pulumi.yaml").exists()
        project = None if has_project else auto.ProjectSettings(name=PROJECT, runtime="python")
        self._workspace = _Workspace(
            work_dir=str(backend.work),
            env_vars=backend.environment(),
            secrets_provider=backend.secrets_provider,
            project_settings=project,
            pulumi_command=self._command,
        )
        self._stack = _Stack(stack, self._workspace)
        self._snapshot: Snapshot | None = None
        self.removed = False

    def cancel(self) -> None:
        """Cancel the current operation."""
        self.cancelled.set()
        self._stop_provider.set()
        self._command.interrupt()

    def exists(self) -> bool:
        """Whether the stack exists in the backend."""
        try:
            self.snapshot()
        except auto.StackNotFoundError:
            return False
        return True

    def create(self) -> None:
        """Create an empty stack."""
        self._save_config()
        self._checked(lambda: self._workspace.create_stack(self.name))
        self._snapshot = Snapshot({})

    def snapshot(self) -> Snapshot:
        """Return the stack's deployment."""
        if self._snapshot is None:
            document = self._read_checkpoint()
            if document is None:
                document = self._checked(self._stack.export_stack).deployment
            self._snapshot = Snapshot(document)
        return self._snapshot

    def _read_checkpoint(self) -> Mapping[str, Any] | None:
        """Read the deployment of a folder backend without a process; None if not possible."""
        path = self._backend.checkpoint_path(PROJECT, self.name)
        if path is None:
            return None
        try:
            document = json.loads(path.read_text())
            if document["version"] == _CHECKPOINT_VERSION:
                return document["checkpoint"].get("latest") or {}
        except (OSError, json.JSONDecodeError, KeyError, AttributeError):
            pass  # the export reports the error
        return None

    def restore(self, document: dict[str, Any]) -> None:
        """Replace the stack's deployment."""
        deployment = auto.Deployment(version=3, deployment=document)
        self._snapshot = None
        self._checked(lambda: self._stack.import_stack(deployment))

    def run_command(self, *arguments: str) -> str:
        """Run another command on the stack and return its output."""
        self._snapshot = None
        command = [*arguments, "--stack", self.name]
        folder, environment = self._workspace.work_dir, dict(self._workspace.env_vars)
        result = self._checked(lambda: self._command.run(command, folder, environment))
        return str(result.stdout)

    def history(self) -> list[dict[str, Any]]:
        """Return the backend's update history, the latest first."""
        output = self.run_command("stack", "history", "--json")
        updates: list[dict[str, Any]] = json.loads(output or "[]")
        return updates

    def stack_names(self) -> list[str]:
        """Return the names of the project's stacks."""
        stacks = self._checked(self._workspace.list_stacks)
        return sorted(item.name.rpartition("/")[2] for item in stacks)

    def remove(self, *, force: bool = False) -> None:
        """Remove the stack from the backend."""
        self._checked(lambda: self._workspace.remove_stack(self.name, force=force))
        self.removed = True

    def operate(
        self,
        operation: str,
        listener: EventListener,
        program: Program | None = None,
        **options: Any,
    ) -> None:
        """Run an operation of the Automation API."""
        if self.cancelled.is_set():
            raise OperationCancelledError
        options |= {"on_event": listener.handle, "color": "never"}
        self._save_config()
        self._snapshot = None
        with self._provider() as provider_errors, self._language_host(program) as host:
            try:
                self._unlocked(lambda: getattr(self._stack, operation)(**options))
            except auto.CommandError as error:
                if host is not None and host.error is not None:
                    raise host.error from error
                raise self._translate(error, listener, provider_errors) from error

    def _unlocked(self, run: Callable[[], Any]) -> Any:
        """Call `run`; if the stack is locked by a process that has died, unlock it and retry."""
        try:
            return run()
        except auto.ConcurrentUpdateError as error:
            holder = lock_holder(str(error))
            if holder is None or not holder.dead:
                raise
            self._stack.cancel()
            return run()

    @contextlib.contextmanager
    def _language_host(self, program: Program | None) -> Iterator[LanguageHost | None]:
        if program is None:
            yield None
            return
        with serve_program(program) as (host, address):
            self._workspace.client = address
            try:
                yield host
            finally:
                self._workspace.client = None

    def _translate(
        self, error: Exception, listener: EventListener, provider_errors: list[EmrctlError]
    ) -> EmrctlError:
        output = str(error)
        if isinstance(error, auto.ConcurrentUpdateError):
            return locked(self.name, output)
        resources = self.snapshot().entries
        if self.cancelled.is_set():
            return update_interrupted(self.name, resources)
        errors = list(provider_errors) or resource_errors(listener)
        return update_failed(self.name, errors or [engine_error(output)], resources)

    @contextlib.contextmanager
    def _provider(self) -> Iterator[list[EmrctlError]]:
        """Serve the local provider, or check for the AWS plugin; yield the provider's errors."""
        if self._target.uses_aws_plugin:
            self._check_plugin()
            yield []
            return
        # A new flag for each operation: the engine sets it at the end of one.
        self._stop_provider = threading.Event()
        if self.cancelled.is_set():
            self._stop_provider.set()
        journal = CreateJournal(self._backend.work / f"{self.name}.begun")
        with serve_provider(self._target, self._stop_provider, journal) as server:
            attached = {_ATTACHED: server.attached}
            self._workspace.env_vars = {**self._workspace.env_vars, **attached}
            yield server.errors

    def _check_plugin(self) -> None:
        """Raise `EngineMissingError` if the AWS plugin is neither installed nor attached."""
        attached_by_user = f"{PACKAGE}:" in os.environ.get(_ATTACHED, "")
        if not attached_by_user and not binary.has_plugin(self._engine):
            msg = f"Pulumi's AWS plugin {binary.plugin_version()} is not installed"
            hint = "Run `emrctl engine install`: it downloads about 700 MB after confirmation."
            raise binary.EngineMissingError(msg, hint=hint)

    def _save_config(self) -> None:
        """Add the backend's configuration to the stack's settings."""
        try:
            settings = self._workspace.stack_settings(self.name)
        except FileNotFoundError:
            settings = auto.StackSettings()
        config = {**(settings.config or {}), **self._backend.config}
        if config and config != settings.config:
            settings.config = config
            self._workspace.save_stack_settings(self.name, settings)

    def _checked(self, run: Callable[[], Any]) -> Any:
        """Run a command that changes only the state, and translate its errors."""
        try:
            return self._unlocked(run)
        except auto.StackNotFoundError:
            raise
        except auto.ConcurrentUpdateError as error:
            raise locked(self.name, str(error)) from error
        except auto.CommandError as error:
            translated = engine_error(str(error))
            translated.message = f"stack {self.name}: {translated.message}"
            translated.args = (translated.message,)
            raise translated from error
