"""Evaluation of a Pulumi program in this process with the SDK's mock monitor.

The monitor passes each declared resource to a function and returns its result to the program.
No Pulumi engine, plugin or socket is involved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emrctl.engine.base import Program

PROJECT = "emrctl"
# The SDK's value for an output that is not known yet.
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Properties = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DeclaredResource:
    """A resource as declared by the program; inputs have Pulumi's camelCase names."""

    urn: str
    type: str
    name: str
    inputs: Properties
    dependencies: frozenset[str]
    protect: bool
    ignore_changes: frozenset[str]
    delete_first: bool


@dataclass(frozen=True, kw_only=True)
class RegisteredResource:
    """The result of registering a declared resource; `id` is None in a preview of its creation."""

    id: str | None
    outputs: Mapping[str, Any]


Handle = Callable[[DeclaredResource], RegisteredResource | None]


def evaluate(program: Program, stack: str, handle: Handle, *, preview: bool) -> Properties:
    """Run `program`, call `handle` for each resource it declares, and return its outputs.

    Independent resources are handled concurrently in threads. If `handle` returns None, the
    resource has failed: its outputs stay unknown and the program continues. Must not be called in a
    thread with a running event loop.
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
    settings.set_root_resource(None)  # type: ignore[arg-type]  # that of an earlier evaluation
    asyncio.run(run_in_stack(program))
    outputs: Properties = monitor.outputs
    return outputs


def _monitor(handle: Handle) -> Any:
    """Return the SDK's mock monitor with support for resource options and failures."""
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
            result = handle(_declared(request, urn))
            if result is None:
                response.result = resource_pb2.Result.FAIL
                return response
            response.id = result.id or ""
            response.object.update(result.outputs)
            return response

        def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
            if "pulumi:pulumi:Stack" in request.urn:
                outputs = from_struct(request.outputs).items()
                self.outputs = {key: value for key, value in outputs if not has_unknown(value)}
            return empty_pb2.Empty()

    def reject(_self: Any, args: Any) -> Any:
        msg = f"the embedded engine does not support {args.token}"
        raise NotImplementedError(msg)

    return Monitor(type("NoCalls", (Mocks,), {"call": reject, "new_resource": reject})())


def _declared(request: Any, urn: str) -> DeclaredResource:
    return DeclaredResource(
        urn=urn,
        type=request.type,
        name=request.name,
        inputs=from_struct(request.object),
        dependencies=frozenset(request.dependencies),
        protect=request.protect,
        ignore_changes=frozenset(request.ignoreChanges),
        delete_first=request.deleteBeforeReplace,
    )


def from_struct(struct: Any) -> Properties:
    """Convert a protobuf struct to a dict; whole numbers become int, which boto3 requires."""
    from google.protobuf import json_format

    properties: Properties = _integers(json_format.MessageToDict(struct))
    return properties


def to_struct(properties: Mapping[str, Any]) -> Any:
    """Convert a mapping to a protobuf struct."""
    from google.protobuf import struct_pb2

    struct = struct_pb2.Struct()
    struct.update(properties)
    return struct


def has_unknown(value: Any) -> bool:
    """Whether `value` is or contains an output that is not known yet."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def _integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
