"""Replace moto's EMR API with emrctl's; moto's other services stay.

`install` works in the emulator's server and under `moto.mock_aws()` without a server.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

from emrctl.emulator.api import clusters, instances, steps
from emrctl.emulator.api.service import ApiError, Operation, Service, invalid
from emrctl.emulator.cluster.runtime import ClusterRuntime
from emrctl.emulator.moto import patches

_log = logging.getLogger(__name__)

OPERATIONS: dict[str, Operation] = {
    **clusters.OPERATIONS,
    **steps.OPERATIONS,
    **instances.OPERATIONS,
}

# Operations that do not concern running clusters are moto's.
_MOTO_OPERATIONS = frozenset(
    {
        *("CreateSecurityConfiguration", "DescribeSecurityConfiguration"),
        *("DeleteSecurityConfiguration", "ListReleaseLabels", "ListSupportedInstanceTypes"),
        *("GetBlockPublicAccessConfiguration", "PutBlockPublicAccessConfiguration"),
    }
)

HttpResponse = tuple[int, dict[str, str], str]


@contextlib.contextmanager
def install(runtime: ClusterRuntime) -> Iterator[Service]:
    """Serve EMR's operations through `runtime`; terminate all clusters at the end."""
    from moto.emr.responses import ElasticMapReduceResponse as MotoEmr

    service = Service(runtime)
    original = MotoEmr._dispatch  # noqa: SLF001

    def dispatch(self: Any, request: Any, full_url: Any = None, headers: Any = None) -> Any:
        name = str(request.headers.get("X-Amz-Target", "")).split(".")[-1]
        if name in _MOTO_OPERATIONS:
            return _call_moto(original, self, request, full_url, headers)
        region = _region(request.headers.get("Authorization", ""))
        return _respond(service, name, region, request.get_data())

    with patches.patched():
        MotoEmr._dispatch = dispatch  # noqa: SLF001
        try:
            yield service
        finally:
            service.close()
            MotoEmr._dispatch = original  # noqa: SLF001


def _call_moto(original: Any, *arguments: Any) -> Any:
    try:
        return original(*arguments)
    except (OSError, KeyError, ValueError) as error:
        # moto raises FileNotFoundError for an unknown release label.
        return _error(invalid(f"The request is not valid: {error}"))


def _region(authorization: str) -> str:
    parts = authorization.partition("Credential=")[2].split("/")
    return parts[2] if len(parts) > 3 else "us-east-1"


def _respond(service: Service, name: str, region: str, body: bytes) -> HttpResponse:
    try:
        return _ok(call(service, name, region, json.loads(body or b"{}")))
    except ApiError as error:
        return _error(error)
    except json.JSONDecodeError as error:
        return _error(
            ApiError(f"The request is not valid JSON: {error}", code="SerializationException")
        )
    except Exception as error:  # noqa: BLE001
        _log.exception("%s", name)
        return _error(ApiError(f"The local EMR failed: {error!r}", code="InternalServerError"))


def call(service: Service, name: str, region: str, ask: dict[str, Any]) -> dict[str, Any]:
    """Return the operation's response; raises `ApiError` for invalid or unknown operations."""
    operation = OPERATIONS.get(name)
    if operation is None:
        raise invalid(f"The local EMR has no operation '{name}'.")
    _validate(name, ask)
    return operation(service, region, ask)


def _validate(name: str, ask: dict[str, Any]) -> None:
    import botocore.validate
    from moto.core.utils import get_service_model

    shape = get_service_model("emr").operation_model(name).input_shape
    problems = botocore.validate.ParamValidator().validate(ask, shape)
    if problems.has_errors():
        raise ApiError(problems.generate_report())


def _ok(response: dict[str, Any]) -> HttpResponse:
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(response)


def _error(error: ApiError) -> HttpResponse:
    body = {"__type": error.code, "message": error.message, "Message": error.message}
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": error.code}
    return 400, headers, json.dumps(body)
