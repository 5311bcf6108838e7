"""AWS's refusals as they come over the wire, put in front of moto's answers."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

Choose = Callable[[str], tuple[str, str] | None]
RATE_EXCEEDED = ("ThrottlingException", "Rate exceeded")
# The call reaches moto, and its response is lost.
LOST = ("", "lost")


@dataclass
class Wire:
    """Counts of requests and of rejected requests by operation."""

    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


@contextmanager
def refusing(choose: Choose, service: str = "emr") -> Iterator[Wire]:
    """Reject the calls for which `choose(operation)` returns code and message of an AWS error.

    Rejected calls do not reach moto, except with `LOST`.
    """
    wire, answered = Wire(), BotocoreStubber.__call__

    def answer(self: Any, event_name: str, request: Any, **more: Any) -> Any:
        if not event_name.startswith(f"before-send.{service}."):
            return answered(self, event_name, request, **more)
        operation = event_name.rsplit(".", maxsplit=1)[-1]
        wire.asked[operation] += 1
        refusal = choose(operation)
        if refusal is None:
            return answered(self, event_name, request, **more)
        wire.refused[operation] += 1
        if refusal == LOST:
            answered(self, event_name, request, **more)
            raise ConnectionClosedError(endpoint_url=request.url)
        return _refused(request.url, *refusal)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotocoreStubber, "__call__", answer)
        yield wire


def _refused(url: str, code: str, message: str) -> AWSResponse:
    body = json.dumps({"__type": code, "message": message, "Message": message}).encode()
    headers = HTTPHeaders()
    headers["x-amzn-errortype"] = code
    return AWSResponse(url, 400, headers, MockRawResponse(body))


def share(part: float, seed: int = 1) -> Choose:
    """Throttle this share of all calls at random, with a fixed seed."""
    dice = random.Random(seed)  # noqa: S311
    return lambda _operation: RATE_EXCEEDED if dice.random() < part else None
