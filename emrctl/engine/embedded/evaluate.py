"""A Pulumi program evaluated in this process, by the SDK's own mock monitor.

The monitor hands each resource that the program declares to a function, and its answer back to
the program. No Pulumi engine, plugin or socket is involved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emrctl.engine.wire import Properties, has_unknown, plain

if TYPE_CHECKING:
    from emrctl.engine.base import Program

PROJECT = "emrctl"


@dataclass(frozen=True, kw_only=True)
class DeclaredResource:
    """A resource as the program declares it; inputs under Pulumi's camelCase names."""

    urn: str
    type: str
    name: str
    inputs: Properties
    dependencies: frozenset[str]
    protect: bool
    ignore_changes: frozenset[str]
    delete_first: bool

    @property
    def unknown(self) -> bool:
        """Whether an input hangs on something that does not exist yet."""
        return has_unknown(self.inputs)


@dataclass(frozen=True, kw_only=True)
class RegisteredResource:
    """What became of a declared resource; no id as long as it is only planned."""

    id: str | None
    outputs: Mapping[str, Any]


Handle = Callable[[DeclaredResource], RegisteredResource | None]


def evaluate(program: Program, stack: str, handle: Handle, *, preview: bool) -> Properties:
    """The outputs of `program`, after `handle` has seen every resource that it declares.

    Resources that do not depend on one another are handled at the same time, in threads. Where
    `handle` gives None the resource counts as failed: its outputs stay unknown, and the program
    goes on. Must not be called in a thread whose event loop runs.
    """
    import contextvars

    return contextvars.copy_context().run(_evaluate, program, stack, handle, preview)


def _evaluate(program: Program, stack: str, handle: Handle, preview: bool) -> Properties:
    from pulumi.runtime import settings
    from pulumi.runtime.mocks import MockEngine
    from pulumi.runtime.stack import run_in_stack

    monitor = _monitor(handle)
    runtime = settings.Settings(
        project=PROJECT,
        stack=stack,
        monitor=monitor,
        engine=MockEngine(None),
        dry_run=preview,
        organization="organization",
    )
    settings.configure(runtime)
    settings.set_root_resource(None)  # type: ignore[arg-type]  # else the stack before is still it
    asyncio.run(run_in_stack(program))
    outputs: Properties = monitor.outputs
    return outputs


def _monitor(handle: Handle) -> Any:
    """The SDK's mock monitor, but with what its `Mocks` are not told: options and failures."""
    from google.protobuf import empty_pb2  # type: ignore[import-untyped]
    from pulumi.runtime.mocks import MockMonitor, Mocks
    from pulumi.runtime.proto import resource_pb2

    class Monitor(MockMonitor):
        outputs: Properties = {}  # noqa: RUF012  # replaced, never changed

        def RegisterResource(self, request: Any) -> Any:  # noqa: N802
            urn = self.make_urn(request.parent, request.type, request.name)
            response = resource_pb2.RegisterResourceResponse(urn=urn)
            if not request.custom:
                return response
            made = handle(_declared(request, urn))
            if made is None:
                response.result = resource_pb2.Result.FAIL
                return response
            response.id = made.id or ""
            response.object.update(made.outputs)
            return response

        def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
            if "pulumi:pulumi:Stack" in request.urn:
                self.outputs = _known(plain(request.outputs))
            return empty_pb2.Empty()

    return Monitor(_Refuse.mocks(Mocks))


class _Refuse:
    """The program calls no AWS function: what it needs to know is an argument."""

    @staticmethod
    def mocks(base: Any) -> Any:
        def refuse(_self: Any, args: Any) -> Any:
            msg = f"the program called {args.token}, which the embedded engine has not"
            raise NotImplementedError(msg)

        return type("NoCalls", (base,), {"call": refuse, "new_resource": refuse})()


def _declared(request: Any, urn: str) -> DeclaredResource:
    return DeclaredResource(
        urn=urn,
        type=request.type,
        name=request.name,
        inputs=plain(request.object),
        dependencies=frozenset(request.dependencies),
        protect=request.protect,
        ignore_changes=frozenset(request.ignoreChanges),
        delete_first=request.deleteBeforeReplace,
    )


def _known(outputs: Properties) -> Properties:
    return {key: value for key, value in outputs.items() if not has_unknown(value)}
