"""Replace moto's EMR API with emrctl's; moto's other services stay.

`install` works in the emulator's server and under `moto.mock_aws()` without a server.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

from emrctl.emulator.api import clusters, instances
from emrctl.emulator.api.service import ApiError, Operation, Request, Service, invalid
from emrctl.emulator.cluster.controller import ClusterRuntime
from emrctl.emulator.moto import patches

_log = logging.getLogger(__name__)

_OPERATIONS: dict[str, Operation] = clusters.OPERATIONS | instances.OPERATIONS

# Operations that do not concern running clusters are moto's.
_MOTO_OPERATIONS = frozenset(
    {
        *("CreateSecurityConfiguration", "DescribeSecurityConfiguration"),
        *("DeleteSecurityConfiguration", "ListReleaseLabels", "ListSupportedInstanceTypes"),
        *("GetBlockPublicAccessConfiguration", "PutBlockPublicAccessConfiguration"),
    }
)

_CONTENT_TYPE = {"Content-Type": "application/x-amz-json-1.1"}

HttpResponse = tuple[int, dict[str, str], str]


@contextlib.contextmanager
def install(runtime: ClusterRuntime) -> Iterator[Service]:
    """Serve EMR's operations through `runtime`; terminate all clusters at the end."""
    from moto.emr.responses import ElasticMapReduceResponse as MotoEmr

    service = Service(runtime)

    def dispatch(original: Any, self: Any, request: Any, *arguments: Any) -> Any:
        name = str(request.headers.get("X-Amz-Target", "")).split(".")[-1]
        if name not in _MOTO_OPERATIONS:
            region = _region(request.headers.get("Authorization", ""))
            return _respond(service, name, region, request.get_data())
        try:
            return original(self, request, *arguments)
        except (OSError, KeyError, ValueError) as error:
            # moto raises FileNotFoundError for an unknown release label.
            return _error(invalid(f"The request is not valid: {error}"))

    with patches.patched(), patches.replaced(MotoEmr, "_dispatch", dispatch):
        try:
            yield service
        finally:
            service.close()


def _region(authorization: str) -> str:
    parts = authorization.partition("Credential=")[2].split("/")
    return parts[2] if len(parts) > 3 else "us-east-1"


def _respond(service: Service, name: str, region: str, body: bytes) -> HttpResponse:
    try:
        response = _call(name, Request(service, region, json.loads(body or b"{}")))
    except ApiError as error:
        return _error(error)
    except json.JSONDecodeError as error:
        return _error(
            ApiError(f"The request is not valid JSON: {error}", code="SerializationException")
        )
    except Exception as error:  # noqa: BLE001
        _log.exception("%s", name)
        return _error(ApiError(f"The local EMR failed: {error!r}", code="InternalServerError"))
    return 200, _CONTENT_TYPE, json.dumps(response)


def _call(name: str, request: Request) -> dict[str, Any]:
    """Return the operation's response; raises `ApiError` for invalid or unknown operations."""
    import botocore.validate
    from moto.core.utils import get_service_model

    operation = _OPERATIONS.get(name)
    if operation is None:
        raise invalid(f"The local EMR has no operation '{name}'.")
    shape = get_service_model("emr").operation_model(name).input_shape
    problems = botocore.validate.ParamValidator().validate(request.members, shape)
    if problems.has_errors():
        raise ApiError(problems.generate_report())
    return operation(request)


def _error(error: ApiError) -> HttpResponse:
    body = {"__type": error.code, "message": error.message, "Message": error.message}
    return 400, _CONTENT_TYPE | {"x-amzn-errortype": error.code}, json.dumps(body)
