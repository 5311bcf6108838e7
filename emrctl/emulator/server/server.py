"""The emulator's server: one port of loopback, and behind it pages, guard, and moto's AWS."""

from __future__ import annotations

import datetime as dt
import logging
import re
import select
import shutil
import signal
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emrctl.emulator.api import dispatch
from emrctl.emulator.api.service import Service
from emrctl.emulator.cluster import model
from emrctl.emulator.cluster.local_runtime import LocalRuntime
from emrctl.emulator.cluster.node_folder import EmulatorContext
from emrctl.emulator.instances.instance_manager import InstanceManager, ssh_port
from emrctl.emulator.moto import ec2
from emrctl.emulator.server import processes, reaper, state
from emrctl.emulator.server.differences import DIFFERENCES
from emrctl.emulator.server.sigv4 import (
    Application,
    Environ,
    Guard,
    RejectedRequestError,
    StartResponse,
    refuse,
)
from emrctl.emulator.server.web import Pages
from emrctl.errors import EmrctlError

_log = logging.getLogger(__name__)

_LOOK_ROUND_S = 2.0
_TOGETHER_S = 0.02


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What the server is started with."""

    home: Path
    region: str
    port: int
    id: str


@dataclass(frozen=True)
class Errors:
    """A WSGI application that turns what `inner` raises into AWS's errors.

    SDKs take HTTP's 500 for a fault that passes, and repeat the request for minutes.
    """

    inner: Application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The inner application's answer, or AWS's error."""
        try:
            return list(self.inner(environ, start_response))
        except NotImplementedError as error:
            what = f"The local AWS cannot do this: {error}"
            return refuse(
                environ, start_response, RejectedRequestError("NotImplemented", what, 400)
            )
        except Exception as error:  # noqa: BLE001
            _log.exception("%s %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
            what = f"The local AWS failed: {error!r}"
            return refuse(environ, start_response, RejectedRequestError("InternalError", what, 400))


@dataclass(frozen=True)
class LocalWebServers:
    """What the emulator's pages need to know, from the service and its life."""

    service: Service
    runtime: LocalRuntime
    instances: InstanceManager

    def status(self) -> dict[str, Any]:
        """Clusters, EC2 instances that are nobody's nodes, differences from AWS, and warnings."""
        clusters = sorted(self.service.clusters.values(), key=lambda one: one.timeline.created)
        return {
            "clusters": [self._cluster(one) for one in clusters],
            "instances": self.instances.describe(),
            "differences": list(DIFFERENCES),
            "warnings": [w for one in clusters if one.alive for w in one.warnings],
        }

    def _cluster(self, cluster: model.EmulatedCluster) -> dict[str, Any]:
        return {
            "id": cluster.id,
            "name": cluster.name,
            "state": cluster.state,
            "message": cluster.message,
            "created": dt.datetime.fromtimestamp(cluster.timeline.created, dt.UTC).isoformat(),
            "urls": self.runtime.urls(cluster.id),
            "folder": str(self.runtime.context.cluster_folder(cluster)),
            "steps": [{"id": s.id, "name": s.name, "state": s.state} for s in cluster.steps],
        }

    def address(self, cluster_id: str, kind: str) -> str | None:
        """Where the cluster's pages of that kind answer."""
        try:
            return self.runtime.address(cluster_id, kind)
        except EmrctlError as error:
            raise RejectedRequestError("BadGateway", error.message, 502) from error

    def cookie(self, address: str) -> str | None:
        """The cookie that opens the pages at that address."""
        return self.runtime.cookie(address)


def serve(asked: ServerOptions, stop: threading.Event) -> None:
    """The emulator has answered from its port until `stop` was set; nothing of it is left."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    processes.adopt_orphans()
    for old in ("clusters", "instances"):
        shutil.rmtree(asked.home / old, ignore_errors=True)
    secrets = state.new_secrets()
    credentials, token_file = state.write_secrets(asked.home, secrets)
    server = make_server(
        "127.0.0.1", asked.port, _nothing, threaded=True, request_handler=_quiet(MotoRequestHandler)
    )
    endpoint = f"http://127.0.0.1:{server.server_port}"
    context = EmulatorContext(
        home=asked.home, emulator_id=asked.id, endpoint=endpoint, credentials=credentials
    )
    runtime, instances = LocalRuntime(context), InstanceManager(context, ssh_port())
    watch = reaper.watching(asked.home, asked.id)
    with watch, dispatch.install(runtime) as service, ec2.install(instances):
        guard = Guard(
            inner=Errors(_forbid_moto_api(DomainDispatcherApplication(create_backend_app))),
            access_key=secrets.access_key,
            secret_key=secrets.secret_key,
            port=server.server_port,
        )
        server.app = Pages(
            inner=guard,
            web_servers=LocalWebServers(service, runtime, instances),
            token=secrets.token,
            port=server.server_port,
        )
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        _warm_up()
        state.write(_info(asked, context, token_file, instances.ssh_port))
        _wait(stop, asked)
        _log.info("Ending.")
    server.shutdown()
    processes.kill_marked(processes.EMULATOR_MARK, asked.id)
    last = state.read(asked.home)
    if last is None or last.id == asked.id:
        state.forget(asked.home)


def _info(
    asked: ServerOptions, context: EmulatorContext, token_file: Path, ssh_port: int
) -> state.EmulatorInfo:
    import os

    return state.EmulatorInfo(
        id=asked.id,
        endpoint=context.endpoint,
        region=asked.region,
        pid=os.getpid(),
        started=processes.created(os.getpid()) or time.time(),
        home=str(asked.home),
        credentials=str(context.credentials),
        token_file=str(token_file),
        ssh_port=ssh_port,
    )


def _wait(stop: threading.Event, asked: ServerOptions) -> None:
    """Until `stop` is set, or nobody can find this emulator any more: its home was removed."""
    missed, looked, ends = 0, time.monotonic(), processes.wake_on_ends()
    while missed < 2 and not stop.is_set():
        if select.select([ends], [], [], _LOOK_ROUND_S)[0]:
            stop.wait(_TOGETHER_S)  # one look for all that end at about the same time
            ends.recv(4096)
        processes.reap()
        if time.monotonic() - looked >= _LOOK_ROUND_S:
            looked, found = time.monotonic(), state.read(asked.home)
            missed = 0 if found is not None and found.id == asked.id else missed + 1
    signal.set_wakeup_fd(-1)
    ends.close()


def _warm_up() -> None:
    """The first request to a service would wait for its import: S3 and EMR are always used."""
    import moto.backends

    for name in ("s3", "emr", "ec2", "iam", "sts"):
        moto.backends.get_backend(name)


def _quiet(handler: Any) -> Any:
    """The handler without a line for each request: a Spark job makes thousands."""

    class Quiet(handler):  # type: ignore[misc]
        def log_request(self, *arguments: object) -> None:
            """Say nothing."""

    return Quiet


def _nothing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Until everything is in context, nothing is answered."""
    return refuse(
        environ, start_response, RejectedRequestError("ServiceUnavailable", "Starting.", 503)
    )


def _forbid_moto_api(inner: Application) -> Application:
    """moto's own pages (reset, recordings) are for tests of others, not for an emulator."""

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if re.match(r"/+moto-api|/latest/", environ.get("PATH_INFO", "")):
            gone = RejectedRequestError("NotFound", "There is no such page.", 404)
            return refuse(environ, start_response, gone)
        return inner(environ, start_response)

    return application
