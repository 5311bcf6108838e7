from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.compare import history
from emrctl.compare.records import RunRecord, record_of
from emrctl.compare.variance import DEFAULT_PRIOR
from emrctl.runs.record import Run
from emrctl.runs.storage import LocalStorage
from emrctl.runs.store import Store
from tests.facts import RUN


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(LocalStorage(tmp_path))


def save(store: Store, name: str, seconds: float, **changes: object) -> RunRecord:
    run: Run = replace(
        RUN,
        id=name,
        state="COMPLETED",
        started="2026-11-20T10:00:00+00:00",
        ended=f"2026-11-20T10:{int(seconds // 60):02d}:{seconds % 60:06.3f}+00:00",
        arguments=("--output", f"s3://b/runs/{name}/output"),
    )
    run = replace(run, **changes)  # type: ignore[arg-type]
    store.save(run)
    return record_of(run)


def test_prior_is_fitted_on_stored_repeats_of_the_same_target(store: Store) -> None:
    records = [
        save(
            store, f"r{partitions}-{n}", seconds, settings={"partitions": partitions}, target="aws"
        )
        for partitions in range(8)
        for n, seconds in enumerate((70.123, 100.456, 141.789))
    ]
    for n in range(40):
        save(store, f"local-{n}", 100.5, settings={"partitions": n // 4}, target="local")
    save(store, "failed", 10.0, target="aws", state="FAILED")
    prior = history.prior(store, records)
    assert prior is not None
    assert prior.groups == 8
    assert prior.deviation > 5 * DEFAULT_PRIOR.deviation
    assert str(prior).startswith("8 configurations with repeats: runs of this project on AWS, and ")


def test_prior_without_stored_repeats_is_the_default(store: Store) -> None:
    one = save(store, "one", 10.0, target="aws", settings={"partitions": 1})
    two = save(store, "two", 10.0, target="aws", settings={"partitions": 2})
    again = [replace(one, id="again"), replace(two, id="again too")]
    assert history.prior(store, [one, two, *again]) == DEFAULT_PRIOR
    assert history.prior(store, [one, two, again[0]]) is None


def test_prior_is_not_fitted_for_single_runs(store: Store) -> None:
    records = [
        save(store, "one", 10.0, settings={"partitions": 1}),
        save(store, "two", 10.0, settings={"partitions": 2}),
        save(store, "bad", 10.0, settings={"partitions": 2}, state="FAILED"),
    ]
    assert history.prior(store, records) is None
