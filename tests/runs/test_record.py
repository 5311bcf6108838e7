"""Properties of records: whole ones are read back, any others are rejected with a reason."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emrctl.metrics.eventlog import layout, reader
from emrctl.metrics.model import RunMetrics
from emrctl.runs import documents, record, salvage
from emrctl.runs.record import STATES, ClusterFacts, Run, TrialFacts
from tests import facts
from tests.event_logs import RECORDED, SAMPLE
from tests.runs.damage import VALUES, places

EXAMPLES = settings(max_examples=150, deadline=None, derandomize=True)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_COUNT = st.integers(0, 10**6)
_PAIRS = st.dictionaries(_TEXT, _TEXT, max_size=3)
_TIMES = st.datetimes(timezones=st.timezones()).filter(lambda moment: 1 < moment.year < 9999)
_TRIALS = st.builds(TrialFacts, experiment=_TEXT, cell=_TEXT, repeat=st.integers(-2, 9))
_CLUSTERS = st.builds(
    ClusterFacts,
    name=_TEXT,
    id=_TEXT,
    release=_TEXT,
    primary_type=_TEXT,
    core_type=_TEXT,
    core_count=_COUNT,
    hourly_usd=st.floats(0, 1e6),
)
RUNS = st.builds(
    Run,
    id=st.just("r1"),
    job=_TEXT,
    project=_TEXT,
    target=st.sampled_from(["local", "aws", "imported"]),
    identity=_TEXT,
    bucket=_TEXT,
    cluster=_CLUSTERS,
    created=_TIMES.map(lambda moment: moment.isoformat()),
    state=st.sampled_from(sorted(STATES)),
    settings=st.dictionaries(_TEXT.filter(lambda name: name != "conf"), _COUNT | _TEXT)
    | st.builds(dict, conf=_PAIRS),
    arguments=st.lists(_TEXT, max_size=3).map(tuple),
    environment=_PAIRS,
    tags=_PAIRS,
    trial=st.none() | _TRIALS,
    started=st.none() | _TIMES.map(lambda moment: moment.isoformat()),
    ended=st.none() | _TIMES.map(lambda moment: moment.isoformat()),
)
WHOLE = replace(
    facts.RUN,
    settings={"executors": 2, "conf": {"spark.x": "1"}},
    arguments=("--scale", "1"),
    trial=TrialFacts(experiment="grid", cell="c", repeat=1),
    started="2026-11-20T10:15:02.000+00:00",
    ended="2026-11-20T10:16:02.000+00:00",
)


def body_of(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()


def is_valid(body: bytes) -> Run | None:
    """Return the run of a record; None if it is rejected with a reason."""
    try:
        run = record.decode(body, "r1")
    except ValueError:
        return None
    assert run.duration_s is None or run.duration_s >= 0
    assert run.cost_usd is None or isinstance(run.cost_usd, float | int)
    assert run.settled <= run.finished
    return run


@EXAMPLES
@given(run=RUNS)
def test_decode_returns_encoded_run(run: Run) -> None:
    body = body_of(record.encode(run, None))
    assert is_valid(body) == run
    assert salvage.rebuild(body, "r1") is not None


@EXAMPLES
@given(body=st.binary(max_size=64) | st.text(max_size=64).map(lambda text: text.encode("utf-16")))
def test_readers_of_any_bytes_raise_value_error_only(body: bytes) -> None:
    is_valid(body)
    salvage.rebuild(body, "r1")
    for type_ in (dict[str, str], RunMetrics):
        with contextlib.suppress(ValueError):
            documents.decode(body, type_)


@EXAMPLES
@given(document=VALUES)
def test_decode_any_returns_document_that_can_be_written(document: Any) -> None:
    body = json.dumps(document).encode()
    try:
        found = documents.decode_any(body)
    except ValueError:
        return
    json.dumps(found, allow_nan=False).encode()
    assert msgspec.json.encode(found)


@EXAMPLES
@given(choice=st.integers(0, 10_000), value=VALUES)
def test_decode_of_changed_record_is_valid_or_rejected(choice: int, value: Any) -> None:
    document = record.encode(WHOLE, None)
    document = json.loads(body_of(document))
    found = list(places(document))
    parent, key = found[choice % len(found)]
    parent[key] = value
    body = body_of(document)
    run = is_valid(body)
    if run is not None:
        assert is_valid(body_of(record.encode(run, body))) == run
    elif document["schema"] == 1:
        rebuilt = salvage.rebuild(body, "r1")
        assert rebuilt is not None
        assert is_valid(body_of(record.encode(rebuilt, None))) == rebuilt


@EXAMPLES
@given(share=st.floats(0, 1))
def test_rebuild_of_truncated_record_keeps_its_whole_lines(share: float) -> None:
    body = body_of(record.encode(WHOLE, None))
    cut = body[: int(len(body) * share)]
    run = salvage.rebuild(cut, "r1")
    if b'"job": "svm",\n' in cut:
        assert run is not None
        assert (run.id, run.job) == ("r1", "svm")
    if b'"state": "SUBMITTING",\n' in cut:
        assert run is not None
        assert run.cluster == WHOLE.cluster
        assert run.state == "SUBMITTING"
    elif run is not None and run.state != WHOLE.state:
        assert (run.state, run.inferred) == ("LOST", True)


def test_encode_writes_schema_first() -> None:
    assert [*record.encode(WHOLE, None)][:2] == ["schema", "id"]
    assert {**asdict(WHOLE), "schema": 1} == record.encode(WHOLE, None)


@pytest.mark.parametrize(
    "path", [SAMPLE, *sorted(RECORDED.glob("*"))[:8]], ids=lambda path: path.name
)
def test_metrics_of_event_log_have_the_types_of_the_model(path: Any) -> None:
    """Stored metrics are read with their types: no figure of a log may have another one."""
    for metrics in reader.read_logs(layout.list_files(path)):
        body = json.dumps(metrics.to_json()).encode()
        assert documents.decode(body, RunMetrics).to_json() == json.loads(body)
