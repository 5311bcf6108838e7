"""Replace moto's EMR API with emrctl's; moto's other services are kept.

`install` works in the emulator's server and under `moto.mock_aws()` without a server.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

from emrctl.emulator.api import (
    account,
    app_uis,
    clusters,
    instances,
    job_flows,
    steps,
    unavailable,
    validation,
)
from emrctl.emulator.api.service import ApiError, Operation, Request, Service
from emrctl.emulator.cluster.controller import ClusterRuntime
from emrctl.emulator.cluster.history import ClusterHistory
from emrctl.emulator.moto import cloudwatch, patches

_log = logging.getLogger(__name__)

OPERATIONS: dict[str, Operation] = {
    **clusters.OPERATIONS,
    **steps.OPERATIONS,
    **instances.OPERATIONS,
    **account.OPERATIONS,
    **app_uis.OPERATIONS,
    **job_flows.OPERATIONS,
    **unavailable.OPERATIONS,
}

_READS = ("Describe", "List", "Get")
_CLUSTER_KEYS = ("ClusterId", "JobFlowId", "ResourceId")
_CONTENT_TYPE = {"Content-Type": "application/x-amz-json-1.1"}

HttpResponse = tuple[int, dict[str, str], str]


@contextlib.contextmanager
def install(runtime: ClusterRuntime, history: ClusterHistory | None = None) -> Iterator[Service]:
    """Serve EMR's operations through `runtime`; terminate all clusters at the end.

    Clusters are stored in `history`, which has those of earlier emulators.
    """
    from moto.emr.responses import ElasticMapReduceResponse as MotoEmr

    service = Service(runtime, history)
    service.restore()

    def dispatch(_original: Any, _self: Any, request: Any, *_: Any) -> Any:
        target = str(request.headers.get("X-Amz-Target", ""))
        region = _region(request.headers.get("Authorization", ""))
        return respond(service, target.rsplit(".", maxsplit=1)[-1], region, request.get_data())

    with (
        patches.patched(),
        patches.replaced(MotoEmr, "_dispatch", dispatch),
        cloudwatch.install(service.metrics),
    ):
        try:
            yield service
        finally:
            service.close()


def _region(authorization: str) -> str:
    parts = authorization.partition("Credential=")[2].split("/")
    return parts[2] if len(parts) > 3 else "us-east-1"


def respond(service: Service, name: str, region: str, body: bytes) -> HttpResponse:
    """Return the HTTP response of an operation; errors are status 400, as EMR's."""
    try:
        return 200, _CONTENT_TYPE, json.dumps(call(service, name, region, body))
    except ApiError as error:
        return _error(error)
    except Exception as error:  # noqa: BLE001
        _log.exception("%s", name)
        return _error(ApiError(f"The local EMR failed: {error!r}", code="InternalServerError"))


def call(service: Service, name: str, region: str, body: bytes) -> dict[str, Any]:
    """Return an operation's response; raises `ApiError` for invalid or unknown operations."""
    from moto.core.utils import get_service_model

    operation = OPERATIONS.get(name)
    if operation is None:
        raise ApiError(f"EMR has no operation '{name}'.", code="UnknownOperationException")
    shape = get_service_model("emr").operation_model(name).input_shape
    members = validation.parse(body, shape)
    answer = operation(Request(service, region, members))
    if not name.startswith(_READS):
        named = {members.get(key) for key in _CLUSTER_KEYS if isinstance(members.get(key), str)}
        service.save({*named, *members.get("JobFlowIds", ()), answer.get("JobFlowId")})
    return answer


def _error(error: ApiError) -> HttpResponse:
    body = {"__type": error.code, "message": error.message, "Message": error.message}
    if error.reason is not None:
        body["ErrorCode"] = error.reason
    return 400, _CONTENT_TYPE | {"x-amzn-errortype": error.code}, json.dumps(body)
