# ruff: noqa: D102, N802 - the protocol's methods
"""The local provider as a gRPC server for Pulumi's engine.

It listens on a loopback port of this process and is attached to the engine as its `aws` provider,
which replaces the AWS plugin and preserves AWS's errors with their hints.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from emrctl.aws.errors import RejectedRequestError
from emrctl.aws.target import Target
from emrctl.engine.embedded.engine import from_struct, to_struct
from emrctl.engine.localhost.provider import Provider, ResourceDiff, short
from emrctl.engine.localhost.resource_type import Inputs, OperationCancelledError
from emrctl.engine.pulumi.binary import plugin_version
from emrctl.errors import EmrctlError, ProvisioningError
from emrctl.paths import write_atomically

PACKAGE = "aws"
# The number of concurrent calls: one that waits for a cluster occupies a thread.
_THREADS = 64


@dataclass(kw_only=True)
class ProviderServer:
    """The port of a served provider, and the errors it has returned to the engine."""

    port: int
    errors: list[EmrctlError] = field(default_factory=list)

    @property
    def attached(self) -> str:
        """The value of PULUMI_DEBUG_PROVIDERS."""
        return f"{PACKAGE}:{self.port}"


class CreateJournal:
    """The URNs of resources whose creation was started and has not ended, in a file per stack.

    Pulumi's engine forgets a creation if it is killed together with the provider. The journal tells
    the provider to look for the resource before it creates a second one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._started = set(json.loads(path.read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            self._started = set()

    def start(self, urn: str) -> bool:
        """Record the start of a creation; return whether an earlier one was interrupted."""
        with self._lock:
            interrupted = urn in self._started
            self._started.add(urn)
            self._write()
        return interrupted

    def end(self, urn: str) -> None:
        """Record the end of a creation."""
        with self._lock:
            self._started.discard(urn)
            self._write()

    def _write(self) -> None:
        if not self._started:
            self._path.unlink(missing_ok=True)
            return
        write_atomically(self._path, json.dumps(sorted(self._started)))


@contextlib.contextmanager
def serve_provider(
    target: Target, stop: threading.Event, journal: CreateJournal
) -> Iterator[ProviderServer]:
    """Serve the local provider to the engine; `stop` cancels its waits."""
    pool = futures.ThreadPoolExecutor(_THREADS)
    server = grpc.server(pool, options=_GRPC_CHANNEL_OPTIONS)
    served = ProviderServer(port=server.add_insecure_port("127.0.0.1:0"))
    servicer = ProviderServicer(ProviderCalls(target, stop, journal, served.errors))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    server.start()
    try:
        yield served
    finally:
        stop.set()
        server.stop(grace=None).wait()


class ProviderCalls:
    """The provider's operations for the engine; keeps the errors in `errors`."""

    def __init__(
        self,
        target: Target,
        stop: threading.Event,
        journal: CreateJournal,
        errors: list[EmrctlError],
    ) -> None:
        self.target = target
        self.stop = stop
        self.journal = journal
        self.provider = Provider(target, stop)
        self._errors = errors

    def check(self, token: str, name: str, inputs: Inputs) -> list[tuple[str, str]]:
        """Return the inputs that are not supported, and keep an error for each."""
        problems = self.provider.check(token, inputs)
        for key, why in problems:
            hint = "Remove it from the spec, or use `target: aws`."
            msg = f"{short(token)} '{name}': {key}: {why}"
            self._errors.append(ProvisioningError(msg, hint=hint))
        return problems

    def create(self, urn: str, token: str, inputs: Inputs) -> str:
        """Return the id of a new resource, or of that of an interrupted creation.

        The latter also if AWS's response is lost: the engine does not record a failed creation.
        """
        id_ = self.provider.find(token, inputs) if self.journal.start(urn) else None
        if id_ is not None:
            return id_
        try:
            return self.provider.create(token, inputs)
        except RejectedRequestError:
            raise
        except ProvisioningError:
            id_ = self.provider.find(token, inputs)
            if id_ is None:
                raise
            return id_

    def is_terminated(self, token: str, id_: str, inputs: Inputs) -> bool:
        """Whether a resource that did not become usable was terminated."""
        try:
            return self.provider.is_terminated(token, id_, inputs)
        except EmrctlError:
            return False

    def keep(self, error: Exception) -> None:
        """Keep an error: the engine's output does not preserve its class and hint."""
        if isinstance(error, EmrctlError):
            self._errors.append(error)

    @contextlib.contextmanager
    def errors_to(self, context: Any) -> Iterator[None]:
        """Keep errors and return them to the engine."""
        try:
            yield
        except (EmrctlError, OperationCancelledError) as error:
            self.keep(error)
            _abort(context, error)


class ProviderServicer(provider_pb2_grpc.ResourceProviderServicer):
    """The protocol's methods."""

    def __init__(self, calls: ProviderCalls) -> None:
        self._calls = calls
        self._provider = calls.provider

    def Handshake(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, _request: Any, _context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=plugin_version())

    def GetSchema(self, _request: Any, _context: Any) -> Any:
        schema = f'{{"name": "{PACKAGE}", "version": "{plugin_version()}"}}'
        return provider_pb2.GetSchemaResponse(schema=schema)

    def CheckConfig(self, request: Any, _context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Cancel(self, _request: Any, _context: Any) -> Any:
        self._calls.stop.set()
        return empty_pb2.Empty()

    def Check(self, request: Any, context: Any) -> Any:
        with self._calls.errors_to(context):
            problems = self._calls.check(request.type, request.name, from_struct(request.news))
        failures = [provider_pb2.CheckFailure(property=key, reason=why) for key, why in problems]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        old, new = from_struct(request.old_inputs), from_struct(request.news)
        with self._calls.errors_to(context):
            diff = self._provider.diff(request.type, old, new)
        return _diff_response(diff)

    def Create(self, request: Any, context: Any) -> Any:
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        try:
            return self._create(request, context)
        finally:
            self._calls.journal.end(request.urn)

    def _create(self, request: Any, context: Any) -> Any:
        inputs = from_struct(request.properties)
        with self._calls.errors_to(context):
            id_ = self._calls.create(request.urn, request.type, inputs)
        try:
            outputs = self._provider.settle(request.type, id_, inputs)
        except (EmrctlError, OperationCancelledError) as error:
            self._calls.keep(error)
            if self._calls.is_terminated(request.type, id_, inputs):
                _abort(context, error)
            _abort_partial(context, error, id_, inputs)
        return provider_pb2.CreateResponse(id=id_, properties=to_struct(outputs))

    def Read(self, request: Any, context: Any) -> Any:
        inputs = from_struct(request.inputs)
        with self._calls.errors_to(context):
            observed = self._provider.observe(request.type, request.id, inputs)
        if observed is None:
            return provider_pb2.ReadResponse()
        current, outputs = observed
        return provider_pb2.ReadResponse(
            id=request.id, inputs=to_struct(current), properties=to_struct(outputs)
        )

    def Update(self, request: Any, context: Any) -> Any:
        old, new = from_struct(request.old_inputs), from_struct(request.news)
        if request.preview:
            outputs: Mapping[str, Any] = {**from_struct(request.olds), **new}
        else:
            # Nothing differs if only the wait of its creation was interrupted.
            keys = frozenset(self._provider.diff(request.type, old, new).keys)
            with self._calls.errors_to(context):
                outputs = self._provider.update(request.type, request.id, new, keys)
        return provider_pb2.UpdateResponse(properties=to_struct(outputs))

    def Delete(self, request: Any, context: Any) -> Any:
        inputs = from_struct(request.old_inputs) or from_struct(request.properties)
        with self._calls.errors_to(context):
            self._provider.delete(request.type, request.id, inputs)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        with self._calls.errors_to(context):
            result = _invoke(self._calls.target, request.tok)
        return provider_pb2.InvokeResponse(**{"return": to_struct(result)})


def _diff_response(diff: ResourceDiff) -> Any:
    kinds, changes = provider_pb2.PropertyDiff, provider_pb2.DiffResponse
    detailed = {
        key: kinds(
            kind=kinds.UPDATE_REPLACE if key in diff.replaces else kinds.UPDATE, inputDiff=True
        )
        for key in diff.keys
    }
    return changes(
        changes=changes.DIFF_SOME if diff.keys else changes.DIFF_NONE,
        diffs=sorted({key.partition(".")[0] for key in diff.keys}),
        replaces=diff.replaces,
        deleteBeforeReplace=diff.delete_first,
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def _invoke(target: Target, token: str) -> dict[str, Any]:
    """Return the result of a provider function that `pulumi up` calls."""
    if token == "aws:index/getRegion:getRegion":  # noqa: S105  # a function's name
        return {"region": target.region, "name": target.region, "id": target.region}
    if token == "aws:index/getCallerIdentity:getCallerIdentity":  # noqa: S105
        return {"accountId": target.account(), "id": target.account()}
    msg = f"{token} is not supported on localhost"
    raise ProvisioningError(msg, hint="Use `target: aws`.")


def _abort(context: Any, error: Exception) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, str(error) or "interrupted")
    raise error  # for the type checker: abort raises


def _abort_partial(context: Any, error: Exception, id_: str, inputs: Inputs) -> NoReturn:
    """Return the error with the resource, so that the engine records it for the next `up`."""
    message = str(error) or "interrupted"
    part = provider_pb2.ErrorResourceInitFailed(
        id=id_, properties=to_struct(inputs), inputs=to_struct(inputs), reasons=[message]
    )
    status = status_pb2.Status(code=2, message=message)
    status.details.add().Pack(part)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    _abort(context, error)
