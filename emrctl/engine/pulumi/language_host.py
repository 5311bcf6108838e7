# ruff: noqa: N802 - the protocol's method names
"""The language host: runs an inline program for the engine.

If the engine ends before the program, as after every failure, the SDK's own host leaves its event
loop open and prints the tracebacks of its threads. This one closes all it opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-untyped]
import pulumi
from pulumi.automation._server import LanguageServer
from pulumi.runtime import (
    register_stack_transformation,
    reset_options,
    run_in_stack,
    set_all_config,
    settings,
)
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from emrctl.engine.base import ImportedResource, Program

# The number of resources that can be declared concurrently.
_THREADS = 32


class LanguageHost(LanguageServer):
    """Runs a program when the engine requests it; `error` is the exception it raised."""

    def __init__(self, program: Program) -> None:
        self.error: BaseException | None = None

        def run() -> None:
            try:
                program()
            except BaseException as error:
                self.error = error
                raise

        super().__init__(run)

    def Run(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Run the program and return its error, if any."""
        return contextvars.copy_context().run(self._run, request)

    def _run(self, request: Any) -> Any:
        _configure(request)
        loop = asyncio.new_event_loop()
        loop.set_default_executor(futures.ThreadPoolExecutor(_THREADS))
        # The engine reports the failure that cancels pending tasks.
        loop.set_exception_handler(lambda _loop, _context: None)
        try:
            loop.run_until_complete(run_in_stack(self.program))
        except BaseException as error:  # noqa: BLE001  # returned to the engine
            return language_pb2.RunResponse(error=str(error) or type(error).__name__)
        finally:
            loop.run_until_complete(_cancel(asyncio.all_tasks(loop)))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
        return language_pb2.RunResponse()


@contextlib.contextmanager
def serve_program(program: Program) -> Iterator[tuple[LanguageHost, str]]:
    """Serve `program` to the engine; yield the host and its address."""
    server = grpc.server(futures.ThreadPoolExecutor(4), options=_GRPC_CHANNEL_OPTIONS)
    host = LanguageHost(program)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield host, f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


def _configure(request: Any) -> None:
    reset_options(
        project=request.project,
        stack=request.stack,
        monitor_address=request.monitor_address,
        engine_address=request.args[0] if request.args else "",
        parallel=request.parallel,
        preview=request.dryRun,
        organization=request.organization or "organization",
    )
    settings.set_root_resource(None)  # type: ignore[arg-type]  # that of an earlier evaluation
    if request.config:
        set_all_config(request.config, request.configSecretKeys or None)
    engine: Any = settings.get_engine()
    log = engine.Log

    def log_if_connected(message: Any) -> Any:
        # The SDK also logs after the engine has ended.
        with contextlib.suppress(grpc.RpcError):
            return log(message)

    engine.Log = log_if_connected


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def import_program(program: Program, resource: ImportedResource) -> Program:
    """Return `program` with the option to import `resource` unchanged.

    `pulumi import` is no alternative: it needs a language host.
    """

    def transform(
        args: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        if (args.type_, args.name) != (resource.type, resource.name):
            return None
        # Differences would fail the import; the next `up` updates them.
        ignored = [name for name, value in args.props.items() if value is not None]
        options = pulumi.ResourceOptions(import_=resource.id, ignore_changes=ignored)
        opts = pulumi.ResourceOptions.merge(args.opts, options)
        return pulumi.ResourceTransformationResult(props=args.props, opts=opts)

    def run() -> None:
        register_stack_transformation(transform)
        program()

    return run
