"""The emulator's HTTP server on one loopback port: its pages, authentication and moto's AWS."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import re
import select
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.emulator.api import dispatch
from emrctl.emulator.api.service import Service
from emrctl.emulator.cluster import model, s3_files
from emrctl.emulator.cluster.history import ClusterHistory
from emrctl.emulator.cluster.local_runtime import LocalRuntime
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.cluster.scaling import INTERVAL_S
from emrctl.emulator.differences import DIFFERENCES
from emrctl.emulator.instances.instance_manager import InstanceManager, ssh_port
from emrctl.emulator.moto import ec2
from emrctl.emulator.s3.application import S3Application
from emrctl.emulator.s3.store import ObjectStore
from emrctl.emulator.s3.stored_files import StoredFiles
from emrctl.emulator.server import processes, state
from emrctl.emulator.server.fault_injection import FaultInjection
from emrctl.emulator.server.http_server import HttpServer
from emrctl.emulator.server.sigv4 import (
    Application,
    Environ,
    HttpError,
    SignatureCheck,
    StartResponse,
    refuse,
)
from emrctl.emulator.server.web import Pages, browser_url, cluster_page

_log = logging.getLogger(__name__)

_CHECK_S = 2.0
_BATCH_S = 0.02


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of the server; the descriptor `start_lock` is closed when it serves."""

    home: Path
    region: str
    port: int
    id: str
    scaling_interval_s: float = INTERVAL_S
    start_lock: int | None = None


@dataclass(frozen=True)
class ErrorHandler:
    """A WSGI application that turns exceptions of `inner` into AWS error responses.

    The status is 400, since SDKs retry 500 for minutes.
    """

    inner: Application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Return the inner application's response, or an AWS error."""
        try:
            return list(self.inner(environ, start_response))
        except NotImplementedError as error:
            what = f"The local AWS does not support this: {error}"
            return refuse(environ, start_response, HttpError("NotImplemented", what, 400))
        except Exception as error:  # noqa: BLE001
            _log.exception("%s %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
            what = f"The local AWS failed: {error!r}"
            return refuse(environ, start_response, HttpError("InternalError", what, 400))


def _status(service: Service, runtime: LocalRuntime, instances: InstanceManager) -> dict[str, Any]:
    """Return clusters, EC2 instances without a cluster, differences, faults and warnings."""
    clusters = sorted(service.clusters.values(), key=lambda one: one.timeline.created)
    return {
        "clusters": [_describe(one, runtime) for one in clusters],
        "instances": instances.describe(),
        "differences": list(DIFFERENCES),
        "faults": service.faults.describe(),
        "warnings": [w for one in clusters if one.active for w in one.warnings],
    }


def _describe(cluster: model.EmulatedCluster, runtime: LocalRuntime) -> dict[str, Any]:
    return {
        "id": cluster.id,
        "name": cluster.name,
        "state": cluster.state,
        "message": cluster.message,
        "created": dt.datetime.fromtimestamp(cluster.timeline.created, dt.UTC).isoformat(),
        "urls": runtime.urls(cluster.id),
        "folder": str(runtime.context.cluster_folder(cluster)),
        "nodes": [
            {
                "id": node.ec2_id,
                "role": node.group.role,
                "type": node.instance_type,
                "market": node.market,
                "state": node.state,
            }
            for node in cluster.active_nodes
        ],
        "steps": [{"id": s.id, "name": s.name, "state": s.state} for s in cluster.steps],
    }


def serve(options: ServerOptions, stop: threading.Event) -> None:
    """Serve until `stop` is set, then terminate everything that was started."""
    processes.adopt_orphans()
    for old in ("clusters", "instances"):
        shutil.rmtree(options.home / old, ignore_errors=True)
    secrets = state.new_secrets()
    credentials, token_file = state.write_secrets(options.home, secrets)
    server = HttpServer(options.port, _starting)
    endpoint = f"http://127.0.0.1:{server.port}"
    context = EmulatorContext(
        home=options.home, emulator_id=options.id, endpoint=endpoint, credentials=credentials
    )
    s3_folder, history_folder = state.storage_folders(options.home)
    runtime, instances = LocalRuntime(context), InstanceManager(context, ssh_port())
    with contextlib.ExitStack() as stack:
        stack.enter_context(processes.reaper(state.log_file(options.home), options.id))
        store = stack.enter_context(contextlib.closing(ObjectStore(s3_folder)))
        stack.callback(server.server_close)
        service = stack.enter_context(dispatch.install(runtime, ClusterHistory(history_folder)))
        stack.enter_context(ec2.install(instances, service.faults))
        service.scaling_interval_s = options.scaling_interval_s
        service.web_ui = web_ui(runtime, server.port, secrets.token)
        server.app = Pages(
            inner=SignatureCheck(
                inner=FaultInjection(stack.enter_context(_aws(store, server.port)), service.faults),
                access_key=secrets.access_key,
                secret_key=secrets.secret_key,
                port=server.port,
            ),
            web_servers=runtime,
            status=lambda: _status(service, runtime, instances),
            faults=service.faults,
            lose_node=lambda cluster, node, spot: service.lose_node(
                cluster, node, spot_interruption=spot
            ),
            token=secrets.token,
            port=server.port,
        )
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        stack.callback(server.shutdown)
        state.write(_info(options, context, token_file, instances.ssh_port))
        if options.start_lock is not None:
            os.close(options.start_lock)
        _wait(stop, options)
        _log.info("Stopping.")
    processes.kill_marked(processes.EMULATOR_MARK, options.id)
    last = state.read(options.home)
    if last is None or last.id == options.id:
        state.forget(options.home)


@contextlib.contextmanager
def _aws(store: ObjectStore, port: int) -> Iterator[Application]:
    """Yield the application of all services, with the buckets of earlier emulators."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    _warm_up()
    moto = ErrorHandler(_forbid_moto_api(DomainDispatcherApplication(create_backend_app)))
    s3 = S3Application(moto, store, s3_files.moto_buckets())
    s3.settings.replay(moto, port)
    with s3.settings.recording_tags(), s3_files.stored_in(StoredFiles(store, s3.buckets)):
        yield s3


def web_ui(runtime: LocalRuntime, port: int, token: str) -> Callable[[str, str], str | None]:
    """Return the function that signs URLs of clusters' web UIs for `Service.web_ui`."""

    def sign(cluster_id: str, page: str) -> str | None:
        if not runtime.serves(cluster_id, page.partition("/")[0]):
            return None
        return browser_url(port, token, cluster_page(port, cluster_id, page))

    return sign


def _info(
    options: ServerOptions, context: EmulatorContext, token_file: Path, ssh_port: int
) -> state.EmulatorInfo:
    return state.EmulatorInfo(
        id=options.id,
        endpoint=context.endpoint,
        region=options.region,
        pid=os.getpid(),
        started=processes.created(os.getpid()) or time.time(),
        home=str(options.home),
        credentials=str(context.credentials),
        token_file=str(token_file),
        ssh_port=ssh_port,
        storage_id=state.storage_id(options.home),
    )


def _wait(stop: threading.Event, options: ServerOptions) -> None:
    """Wait until `stop` is set or the emulator's home is removed."""
    missed, checked, exits = 0, time.monotonic(), processes.wake_on_child_exit()
    while missed < 2 and not stop.is_set():
        if select.select([exits], [], [], _CHECK_S)[0]:
            stop.wait(_BATCH_S)  # handle children that exit at about the same time together
            exits.recv(4096)
        processes.reap()
        if time.monotonic() - checked >= _CHECK_S:
            checked, info = time.monotonic(), state.read(options.home)
            missed = 0 if info is not None and info.id == options.id else missed + 1
    signal.set_wakeup_fd(-1)
    exits.close()


def _warm_up() -> None:
    """Import the services that are always used, so that first requests are fast."""
    import moto.backends

    for name in ("s3", "emr", "ec2", "iam", "sts"):
        moto.backends.get_backend(name)


def _starting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 503 until the server is ready."""
    return refuse(environ, start_response, HttpError("ServiceUnavailable", "Starting.", 503))


def _forbid_moto_api(inner: Application) -> Application:
    """Disable moto's own pages (reset, recordings)."""

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if re.match(r"/+moto-api|/latest/", environ.get("PATH_INFO", "")):
            not_found = HttpError("NotFound", "There is no such page.", 404)
            return refuse(environ, start_response, not_found)
        return inner(environ, start_response)

    return application
