# ruff: noqa: D102, N802 - methods that the protocol describes and names
"""The local provider behind the engine's own protocol: the real engine works on the emulator.

It is served on a loopback port of this process and attached to the engine as its `aws` provider,
so that no AWS plugin is needed, and AWS's errors keep their words and hints on the way.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, NoReturn

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from emrctl.aws.errors import RejectedRequestError
from emrctl.aws.target import Target
from emrctl.engine.localhost.provider import Provider, ResourceDiff, short
from emrctl.engine.localhost.resource_type import Inputs, OperationCancelledError
from emrctl.engine.pulumi.journal import CreateJournal
from emrctl.engine.wire import packed, plain
from emrctl.errors import EmrctlError, ProvisioningError

PACKAGE = "aws"
# As many as the engine may ask at once: one that waits for a cluster keeps its thread.
_THREADS = 64


@dataclass(kw_only=True)
class ProviderServer:
    """A provider that answers on `port`; `failures` are what it refused, in our own words."""

    port: int
    failures: list[EmrctlError] = field(default_factory=list)

    @property
    def attached(self) -> str:
        """What PULUMI_DEBUG_PROVIDERS takes."""
        return f"{PACKAGE}:{self.port}"


@contextlib.contextmanager
def serve_provider(
    target: Target, stop: threading.Event, journal: CreateJournal
) -> Iterator[ProviderServer]:
    """A provider for `target` that answers the engine; `stop` ends its waits, as the end does."""
    server = grpc.server(futures.ThreadPoolExecutor(_THREADS), options=_GRPC_CHANNEL_OPTIONS)
    found = ProviderServer(port=server.add_insecure_port("127.0.0.1:0"))
    answers = ProviderServicer(ProviderCalls(target, stop, journal, found.failures))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(answers, server)
    server.start()
    try:
        yield found
    finally:
        stop.set()
        server.stop(grace=None).wait()


class ProviderCalls:
    """What the protocol asks of a provider; errors are kept before the engine hears of them."""

    def __init__(
        self,
        target: Target,
        stop: threading.Event,
        journal: CreateJournal,
        failures: list[EmrctlError],
    ) -> None:
        self._journal = journal
        self.target = target
        self.stop = stop
        self.provider = Provider(target, stop)
        self._failures = failures

    def problems(self, token: str, name: str, inputs: Inputs) -> list[tuple[str, str]]:
        """What the local target has not got of a declared resource."""
        found = self.provider.check(token, inputs)
        for key, why in found:
            hint = "Take it out of the spec, or use `target: aws`."
            msg = f"{short(token)} '{name}': {key}: {why}"
            self._failures.append(ProvisioningError(msg, hint=hint))
        return found

    def made(self, urn: str, token: str, inputs: Inputs) -> str:
        """The id of a new resource, or of the one that an earlier, killed create of it made.

        Where AWS gives no clear answer it is looked for too: the engine keeps no record of a
        create that failed, and nobody would know of it.
        """
        found = self.provider.find(token, inputs) if self._journal.begun(urn) else None
        if found is not None:
            return found
        try:
            return self.provider.create(token, inputs)
        except RejectedRequestError:
            raise
        except ProvisioningError:
            found = self.provider.find(token, inputs)
            if found is None:
                raise
            return found

    def over(self, urn: str) -> None:
        """The engine knows how the resource's creation ended."""
        self._journal.ended(urn)

    def gone(self, token: str, id_: str, inputs: Inputs) -> bool:
        """Whether what could not be used has ended: then there is nothing to keep a record of."""
        try:
            return self.provider.ended(token, id_, inputs)
        except EmrctlError:
            return False

    def keep(self, error: Exception) -> None:
        """`error` is told at the end in its own words, and not as the engine passes it on."""
        if isinstance(error, EmrctlError):
            self._failures.append(error)


class ProviderServicer(provider_pb2_grpc.ResourceProviderServicer):
    """The protocol's methods, under its own names."""

    def __init__(self, answers: ProviderCalls) -> None:
        self._answers = answers
        self._provider = self._answers.provider

    def Handshake(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, _request: Any, _context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=version())

    def GetSchema(self, _request: Any, _context: Any) -> Any:
        schema = f'{{"name": "{PACKAGE}", "version": "{version()}"}}'
        return provider_pb2.GetSchemaResponse(schema=schema)

    def CheckConfig(self, request: Any, _context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Cancel(self, _request: Any, _context: Any) -> Any:
        self._answers.stop.set()
        return empty_pb2.Empty()

    def Check(self, request: Any, context: Any) -> Any:
        with _told(self._answers, context):
            found = self._answers.problems(request.type, request.name, plain(request.news))
        failures = [provider_pb2.CheckFailure(property=key, reason=why) for key, why in found]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request: Any, _context: Any) -> Any:
        old, new = plain(request.old_inputs), plain(request.news)
        return _difference(self._provider.diff(request.type, old, new))

    def Create(self, request: Any, context: Any) -> Any:
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        try:
            return self._created(request, context)
        finally:
            self._answers.over(request.urn)

    def _created(self, request: Any, context: Any) -> Any:
        inputs = plain(request.properties)
        with _told(self._answers, context):
            id_ = self._answers.made(request.urn, request.type, inputs)
        try:
            outputs = self._provider.settle(request.type, id_, inputs)
        except (EmrctlError, OperationCancelledError) as error:
            self._answers.keep(error)
            if self._answers.gone(request.type, id_, inputs):
                _refuse(context, error)
            _refuse_part(context, error, id_, inputs)
        return provider_pb2.CreateResponse(id=id_, properties=packed(outputs))

    def Read(self, request: Any, context: Any) -> Any:
        inputs = plain(request.inputs)
        with _told(self._answers, context):
            found = self._provider.observe(request.type, request.id, inputs)
        if found is None:
            return provider_pb2.ReadResponse()
        now, outputs = found
        return provider_pb2.ReadResponse(
            id=request.id, inputs=packed(now), properties=packed(outputs)
        )

    def Update(self, request: Any, context: Any) -> Any:
        old, new = plain(request.old_inputs), plain(request.news)
        if request.preview:
            outputs: Mapping[str, Any] = {**plain(request.olds), **new}
        else:
            # Nothing differs where only its creation was not waited for to its end.
            keys = frozenset(self._provider.diff(request.type, old, new).keys)
            with _told(self._answers, context):
                outputs = self._provider.update(request.type, request.id, new, keys)
        return provider_pb2.UpdateResponse(properties=packed(outputs))

    def Delete(self, request: Any, context: Any) -> Any:
        inputs = plain(request.old_inputs) or plain(request.properties)
        with _told(self._answers, context):
            self._provider.delete(request.type, request.id, inputs)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        with _told(self._answers, context):
            found = _invoked(self._answers.target, request.tok)
        return provider_pb2.InvokeResponse(**{"return": packed(found)})


def version() -> str:
    """The version of the provider's Python package, which the program asks for."""
    return metadata.version("pulumi-aws")


def _difference(found: ResourceDiff) -> Any:
    kinds, changes = provider_pb2.PropertyDiff, provider_pb2.DiffResponse
    detailed = {
        key: kinds(
            kind=kinds.UPDATE_REPLACE if key in found.replaces else kinds.UPDATE, inputDiff=True
        )
        for key in found.keys
    }
    return changes(
        changes=changes.DIFF_SOME if found.keys else changes.DIFF_NONE,
        diffs=sorted({key.partition(".")[0] for key in found.keys}),
        replaces=found.replaces,
        deleteBeforeReplace=found.delete_first,
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def _invoked(target: Target, token: str) -> dict[str, Any]:
    """The answers to what the program by hand asks of AWS."""
    if token == "aws:index/getRegion:getRegion":  # noqa: S105  # a function's name
        return {"region": target.region, "name": target.region, "id": target.region}
    if token == "aws:index/getCallerIdentity:getCallerIdentity":  # noqa: S105
        return {"accountId": target.account(), "id": target.account()}
    hint = "It is there on AWS alone: `target: aws`."
    raise ProvisioningError(f"the local target has no {token}", hint=hint)


@contextlib.contextmanager
def _told(answers: ProviderCalls, context: Any) -> Iterator[None]:
    """What fails inside is kept, and told to the engine."""
    try:
        yield
    except (EmrctlError, OperationCancelledError) as error:
        answers.keep(error)
        _refuse(context, error)


def _refuse(context: Any, error: Exception) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, str(error) or "interrupted")
    raise error  # abort has raised before


def _refuse_part(context: Any, error: Exception, id_: str, inputs: Inputs) -> NoReturn:
    """The engine keeps a record of the resource, and brings it to its end with the next `up`."""
    words = str(error) or "interrupted"
    part = provider_pb2.ErrorResourceInitFailed(
        id=id_, properties=packed(inputs), inputs=packed(inputs), reasons=[words]
    )
    status = status_pb2.Status(code=2, message=words)
    status.details.add().Pack(part)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    _refuse(context, error)
