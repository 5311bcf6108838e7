"""The sample log, and encoders of Spark's compression codecs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emrctl.metrics.eventlog import reader as eventlog_reader
from emrctl.metrics.model import RunMetrics
from tests.event_logs import SAMPLE, text_of

HERE = Path(__file__).parent


def _module(name: str) -> Any:
    # Under --import-mode=importlib the folder of a test is not on sys.path.
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ENCODERS: dict[str, Callable[[bytes], bytes]] = _module("eventlog/encoders").ENCODERS


@pytest.fixture(scope="session")
def encoders() -> dict[str, Callable[[bytes], bytes]]:
    """Encoders of all codecs, by name."""
    return ENCODERS


@pytest.fixture(scope="session")
def reference() -> Callable[[bytes], dict[str, Any]]:
    """The second reader: return the metrics of a decoded log."""
    reader = _module("eventlog/reference").ReferenceReader

    def read(text: bytes) -> dict[str, Any]:
        metrics: dict[str, Any] = reader().read(text)
        return metrics

    return read


@pytest.fixture(params=sorted(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    """The encoder of each codec."""
    return ENCODERS[request.param]


@pytest.fixture(scope="session")
def log() -> bytes:
    """The decoded sample: ten jobs, SQL and lines of up to 20 kB."""
    return text_of(SAMPLE)


@pytest.fixture(scope="session")
def whole() -> RunMetrics:
    """The metrics of `log`."""
    return eventlog_reader.read_path(SAMPLE)
