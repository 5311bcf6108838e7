"""The store: atomic writes, immutable finished runs, loading by part of the id."""

from __future__ import annotations

import gzip
import itertools
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.errors import EmrctlError, NotFoundError
from emrctl.runs.backends.base import read_logs
from emrctl.runs.index import RunIndex
from emrctl.runs.record import Run, TrialFacts, new_id
from emrctl.runs.storage import LocalStorage, S3Storage
from emrctl.runs.store import Store
from tests import facts


def a_run(run_id: str = "20261120-101502-svm-3f9a", **changes: object) -> Run:
    run = replace(
        facts.RUN,
        id=run_id,
        identity="e-1",
        created="2026-11-20T10:15:02.000+00:00",
        settings={"executors": 5},
        arguments=("--one", "a b"),
        trial=TrialFacts(experiment="x", cell="c", repeat=1),
    )
    return replace(run, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(LocalStorage(tmp_path / "runs"))


def recorded_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the key of every file is added that is read."""
    reads: list[str] = []
    read = LocalStorage.read

    def record(self: LocalStorage, key: str) -> bytes | None:
        reads.append(key)
        return read(self, key)

    monkeypatch.setattr(LocalStorage, "read", record)
    return reads


def test_load_returns_saved_run(store: Store) -> None:
    store.save(a_run())
    assert store.load(a_run().id) == a_run()
    assert store.all() == [a_run()]


def test_save_of_finished_run_changes_nothing_but_tags(store: Store) -> None:
    done = a_run(state="COMPLETED")
    store.save(done)
    store.save(replace(done, state="FAILED"))
    assert store.load(done.id).state == "COMPLETED"
    assert store.tag(done.id, {"author": "me", "x": "1"}).tags == {"author": "me", "x": "1"}
    assert store.tag(done.id, {"x": ""}).tags == {"author": "me"}
    assert store.load(done.id).tags == {"author": "me"}


def test_load_by_unique_part_of_id(store: Store) -> None:
    store.save(a_run("20261120-1-svm-aaaa"))
    store.save(a_run("20261120-2-svm-bbbb"))
    assert store.load("bbbb").id == "20261120-2-svm-bbbb"
    assert store.load("latest").id == "20261120-2-svm-bbbb"
    with pytest.raises(NotFoundError, match="matches 2 runs"):
        store.load("svm")
    with pytest.raises(NotFoundError, match="no run is called 'cccc'") as caught:
        store.load("cccc")
    assert "svm-bbbb" in caught.value.hint


def test_save_interrupted_keeps_old_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(a_run())

    def killed(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(EmrctlError, match="No space left"):
        store.save(a_run(state="RUNNING"))
    monkeypatch.undo()
    assert store.load(a_run().id).state == "SUBMITTING"


def test_all_skips_damaged_records(store: Store, tmp_path: Path) -> None:
    store.save(a_run())
    store.files("20261120-9-bad-0000").write("run.json", b"{")
    assert [run.id for run in store.all()] == [a_run().id]


def test_all_from_index_equals_records_and_sees_later_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(LocalStorage(tmp_path / "runs"))
    monkeypatch.setattr(RunIndex, "SETTLED_S", -1e9)
    monkeypatch.setattr(RunIndex, "SLACK", 0)
    runs = [
        a_run(f"20261120-{number}-svm-0000", state=state, tags={"n": str(number)})
        for number, state in enumerate(["COMPLETED", "FAILED", "RUNNING", "COMPLETED"])
    ]
    for run in runs:
        store.save(run)
    assert store.all() == runs
    reads = recorded_reads(monkeypatch)
    assert store.all() == runs
    assert {key.partition("/")[0] for key in reads} == {runs[2].id}  # not finished
    other = Store(LocalStorage(tmp_path / "runs"))
    other.tag(runs[0].id, {"n": "5"})
    other.save(replace(runs[2], state="FAILED"))
    shutil.rmtree(tmp_path / "runs" / runs[3].id)
    assert [(run.state, run.tags["n"]) for run in store.all()] == [
        ("COMPLETED", "5"),
        ("FAILED", "1"),
        ("FAILED", "2"),
    ]


def test_all_ignores_recent_records_damaged_and_older_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(LocalStorage(tmp_path))
    monkeypatch.setattr(RunIndex, "SLACK", 0)
    done = a_run(state="COMPLETED")
    store.save(done)
    assert store.all() == [done]
    assert not (tmp_path / RunIndex.FILE).exists()  # a second change could have the same time
    monkeypatch.setattr(RunIndex, "SETTLED_S", -1e9)
    assert store.all() == [done]
    body = (tmp_path / RunIndex.FILE).read_bytes()
    for other in (b"", body[:-9], body.replace(b" created ", b" creator "), b"\xc0"):
        (tmp_path / RunIndex.FILE).write_bytes(other)
        assert store.all() == [done]
    assert (tmp_path / RunIndex.FILE).read_bytes() == body


def test_newest_reads_no_more_than_it_needs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100, 200):
        store.save(a_run(f"20261120-{number}-svm-0000"))
    reads = recorded_reads(monkeypatch)
    runs = itertools.islice(store.newest(), 3)
    assert [run.id[9:12] for run in runs] == ["199", "198", "197"]
    assert len(reads) < 100
    assert store.load("latest").id[9:12] == "199"


def test_load_ignores_unknown_fields_of_later_versions(store: Store) -> None:
    store.save(a_run())
    record = store.files(a_run().id).read_json("run.json") or {}
    store.files(a_run().id).write_json("run.json", {**record, "later": 1})
    assert store.load(a_run().id) == a_run()


def test_s3_store_lists_and_loads_runs(mocked: Target) -> None:
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="pets-runs")
    store = Store(S3Storage(s3, "pets-runs"))
    assert store.all() == []
    runs = [a_run(f"20261120-{number}-svm-0000") for number in range(3)]
    for run in runs:
        store.save(run)
    s3.put_object(Bucket="pets-runs", Key="runs/other/output/part-0", Body=b"")
    assert store.all() == runs
    assert list(store.newest()) == runs[::-1]
    assert store.load("latest") == runs[2]
    assert store.load("-1-") == runs[1]


def test_duration_and_cost_are_computed_from_times() -> None:
    run = a_run(started="2026-11-20T10:00:00.000+00:00", ended="2026-11-20T10:30:00.000+00:00")
    assert run.duration_s == 1800
    assert run.cost_usd == pytest.approx(0.36)
    assert a_run().cost_usd is None


def test_new_id_contains_time_and_job() -> None:
    made = new_id("My Job.py", datetime(2026, 11, 20, 10, 15, 2, 123456, tzinfo=UTC))
    assert made.startswith("20261120-101502123-my-job-py-")


@pytest.mark.parametrize(("job", "word"), [("größe", "gr-e"), ("日本", "job"), ("50%#1", "50-1")])
def test_new_id_is_ascii(job: str, word: str) -> None:
    moment = datetime(2026, 11, 20, 10, 15, 2, 123456, tzinfo=UTC)
    assert new_id(job, moment)[:-5] == f"20261120-101502123-{word}"


@pytest.mark.parametrize("compressed", [True, False])
def test_s3_storage_copies_log_without_reading_it_at_once(mocked: Target, compressed: bool) -> None:
    """A log of S3 cannot be read twice, which boto3 expects of a stream that can seek."""
    s3, text = mocked.client("s3"), b"".join(b"row %d\n" % n for n in range(1_500_000))
    s3.create_bucket(Bucket="pets-logs")
    body = gzip.compress(text, 1) if compressed else text
    s3.put_object(Bucket="pets-logs", Key="steps/s-1/stdout.gz", Body=body)
    [log] = read_logs(mocked, "pets-logs", "steps/s-1/", "step")
    storage = S3Storage(s3, "pets-logs")
    with log.open() as stream:
        storage.write("r1/logs/step/stdout", stream)
    assert storage.read("r1/logs/step/stdout") == text
