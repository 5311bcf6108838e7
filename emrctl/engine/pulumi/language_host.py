# ruff: noqa: N802 - a method that the protocol names
"""The program's side of the engine's protocol.

The SDK's own host leaves its event loop open and its threads' tracebacks on stderr where the
engine ends before the program, as it does after every failure. This one closes all it opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-untyped]
from pulumi.automation._server import LanguageServer
from pulumi.runtime import reset_options, run_in_stack, set_all_config, settings
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from emrctl.engine.base import Program

# As many resources may be declared at once.
_THREADS = 32


class LanguageHost(LanguageServer):
    """Runs a program when the engine asks for it, and keeps what the program itself raised."""

    def __init__(self, program: Program) -> None:
        super().__init__(self._watched)
        self._given = program
        self.error: BaseException | None = None

    def Run(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """The program has declared all it wants, or its error is told."""
        return contextvars.copy_context().run(self._run, request)

    def _watched(self) -> None:
        try:
            self._given()
        except BaseException as error:
            self.error = error
            raise

    def _run(self, request: Any) -> Any:
        _configure(request)
        loop = asyncio.new_event_loop()
        loop.set_default_executor(futures.ThreadPoolExecutor(_THREADS))
        # What fails because the engine is gone is awaited by nobody, and told by the engine.
        loop.set_exception_handler(lambda _loop, _context: None)
        try:
            loop.run_until_complete(run_in_stack(self.program))
        except BaseException as error:  # noqa: BLE001  # told to the engine, which ends the run
            return language_pb2.RunResponse(error=str(error) or type(error).__name__)
        finally:
            _close(loop)
        return language_pb2.RunResponse()


@contextlib.contextmanager
def hosted(program: Program) -> Iterator[tuple[LanguageHost, str]]:
    """A host for `program`, and the address where the engine finds it."""
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
    settings.set_root_resource(None)  # type: ignore[arg-type]  # else the stack before is still it
    if request.config:
        set_all_config(request.config, request.configSecretKeys or None)
    _speak_into_the_void(settings.get_engine())


def _speak_into_the_void(engine: Any) -> None:
    """What the SDK logs after the engine has ended is lost, and is no error."""
    log = engine.Log

    def patient(request: Any) -> Any:
        try:
            return log(request)
        except grpc.RpcError:
            return None

    engine.Log = patient


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Nothing of the loop is left running or unawaited."""
    loop.run_until_complete(_finish(asyncio.all_tasks(loop)))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def _finish(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
