"""Recorded AWS responses; calls and responses are validated against botocore's models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

Answer = Mapping[str, Any] | Exception | Callable[[Mapping[str, Any]], Any]


def refused(code: str, message: str = "no", status: int = 400, **headers: str) -> ClientError:
    """Return an AWS error response."""
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    return ClientError(answer, "Recorded")


class Recorded:
    """Responses by operation; `calls` records the calls with their parameters."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    @property
    def answer(self) -> Callable[[Any, str, Mapping[str, Any]], Any]:
        """Replace a client's `_make_api_call`."""

        def call(client: Any, operation: str, asked: Mapping[str, Any]) -> Any:
            return self._answered(client, operation, asked)

        return call

    def _answered(self, client: Any, operation: str, asked: Mapping[str, Any]) -> Any:
        model = client.meta.service_model.operation_model(operation)
        self._check(operation, "asked", asked, model.input_shape)
        self.calls.append((operation, asked))
        answer = self.answers[operation]
        found = answer(asked) if callable(answer) else answer
        if isinstance(found, Exception):
            raise found
        body = {key: value for key, value in found.items() if key != "ResponseMetadata"}
        self._check(operation, "answered", body, model.output_shape)
        return found

    @staticmethod
    def _check(operation: str, what: str, value: Any, shape: Any) -> None:
        if shape is not None:
            report = ParamValidator().validate(value, shape)
            assert not report.has_errors(), f"{operation} {what}: {report.generate_report()}"
            known = set(shape.members)
            assert set(value) <= known, f"{operation} {what}: no {set(value) - known}"
