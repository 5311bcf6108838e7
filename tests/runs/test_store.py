"""The store: atomic writes, immutable finished runs, loading by part of the id."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.errors import DamagedFileError, EmrctlError, NotFoundError
from emrctl.runs.index import RunIndex
from emrctl.runs.record import Run, TrialFacts, new_id
from emrctl.runs.storage import LocalStorage, S3Storage
from emrctl.runs.store import Store
from tests import facts
from tests.runs.damage import FIXED


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


def test_load_names_the_five_newest_candidates(store: Store) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.load("svm")
    assert caught.value.hint == "Start one with `emrctl submit`."
    ids = [f"20261120-{number}-svm-0000" for number in range(7)]
    for run_id in ids:
        store.save(a_run(run_id))
    for name, words in (("svm", "Specify one of "), ("x" * 99, "The newest are ")):
        with pytest.raises(NotFoundError) as caught:
            store.load(name)
        assert caught.value.hint == words + ", ".join(ids[2:])
    assert caught.value.message == f"no run is called '{'x' * 80}'"
    assert store.load("-0-").id == ids[0]


def test_set_aside_takes_the_next_free_name(store: Store) -> None:
    files = store.files(a_run().id)
    for _ in range(3):
        files.write("tags.json", b"{")
        files.set_aside("tags.json")
    assert files.names("") == ["tags.json.damaged", "tags.json.damaged-2", "tags.json.damaged-3"]


def test_save_interrupted_keeps_old_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(a_run())

    def killed(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(EmrctlError, match="No space left"):
        store.save(a_run(state="RUNNING"))
    monkeypatch.undo()
    assert store.load(a_run().id).state == "SUBMITTING"


BAD = "20261120-9-bad-0000"


@pytest.mark.parametrize("kind", sorted(FIXED))
def test_all_skips_damaged_record_and_reports_it_once(
    store: Store, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(a_run())
    store.save(a_run(BAD))
    path = Path(store.files(BAD).location("run.json"))
    FIXED[kind](path)
    for _ in range(2):
        assert [run.id for run in store.all()] == [a_run().id]
        assert [run.id for run in store.newest()] == [a_run().id]
        assert store.find(BAD) is None
    [record] = caplog.records
    assert str(path) in record.getMessage()
    assert [*store.damaged.records] == [BAD]
    with pytest.raises(DamagedFileError, match="cannot read") as caught:
        store.load("bad")
    assert (caught.value.location, caught.value.exit_code) == (str(path), 10)
    assert store.load("latest").id == a_run().id


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cluster": None}, "Expected `object`"),
        ({"cluster": {"name": "main"}}, "missing required field"),
        ({"settings": {"conf": {"a": 1}}}, "settings"),
        ({"settings": {"conf": "a"}}, "settings"),
        ({"state": "EXPLODED"}, "state 'EXPLODED' is unknown"),
        ({"id": "a\0b"}, "is the record of run"),
        ({"id": "x" * 5000}, "is the record of run"),
        ({"created": "now"}, "`created` is not a time"),
        ({"ended": "0001-01-01T00:00:00+23:00"}, "out of range"),
        ({"schema": 2, "cluster": 1}, "a newer emrctl wrote it"),
        ({"schema": "1"}, "Expected `int`"),
    ],
)
def test_load_of_invalid_record_names_file_and_reason(
    store: Store, changes: dict[str, object], reason: str
) -> None:
    store.save(a_run())
    files = store.files(a_run().id)
    files.write_json("run.json", {**(files.read_json("run.json") or {}), **changes})
    with pytest.raises(DamagedFileError, match=reason) as caught:
        store.load(a_run().id)
    assert files.location("run.json") in caught.value.message
    assert store.all() == []


def test_load_takes_times_without_zone_as_utc(store: Store) -> None:
    store.save(a_run(started="2026-11-20T10:15:02", ended="2026-11-20T10:15:12+00:00"))
    run = store.load(a_run().id)
    assert (run.started, run.duration_s) == ("2026-11-20T10:15:02.000+00:00", 10)


@pytest.mark.parametrize("name", ["", ".", "..", "../runs", "a/b", "a\0b", "x" * 5000, "\ud800"])
def test_load_of_impossible_name_is_not_found(store: Store, name: str) -> None:
    store.save(a_run())
    (Path(store.storage.location("")) / "run.json").write_text("{}")
    with pytest.raises(NotFoundError):
        store.load(name)
    assert store.find(name) is None


def test_save_keeps_unknown_keys_of_stored_record(store: Store) -> None:
    store.save(a_run())
    files = store.files(a_run().id)
    document = files.read_json("run.json") or {}
    document["cluster"]["later"] = [1]
    document["trial"]["later"] = {"a": 2}
    files.write_json("run.json", {**document, "later": {"deep": True}})
    store.save(a_run(state="RUNNING"))
    changed = files.read_json("run.json") or {}
    assert (changed["state"], changed["schema"]) == ("RUNNING", 1)
    assert changed["later"] == {"deep": True}
    assert changed["cluster"]["later"] == [1]
    assert changed["trial"]["later"] == {"a": 2}


def test_save_over_newer_record_is_an_error(store: Store) -> None:
    store.save(a_run())
    files = store.files(a_run().id)
    files.write_json("run.json", {**(files.read_json("run.json") or {}), "schema": 2})
    before = files.read("run.json")
    with pytest.raises(DamagedFileError, match="newer emrctl"):
        store.save(a_run(state="RUNNING"))
    assert files.read("run.json") == before


def test_save_over_damaged_record_keeps_it_under_another_name(store: Store) -> None:
    store.save(a_run())
    files = store.files(a_run().id)
    files.write("run.json", b"{")
    store.save(a_run(state="RUNNING"))
    assert store.load(a_run().id).state == "RUNNING"
    assert files.read("run.json.damaged") == b"{"


def test_tag_with_damaged_tags_does_not_replace_them(store: Store) -> None:
    store.save(a_run(tags={"kind": "test"}))
    store.files(a_run().id).write("tags.json", b"{")
    assert store.load(a_run().id).tags == {"kind": "test"}
    with pytest.raises(DamagedFileError, match=r"tags\.json"):
        store.tag(a_run().id, {"a": "b"})
    assert store.files(a_run().id).read("tags.json") == b"{"


def test_write_renames_folder_in_place_of_file(store: Store) -> None:
    files = store.files(a_run().id)
    Path(files.location("metrics.json")).mkdir(parents=True)
    files.write_json("metrics.json", {"jobs": 1})
    assert files.read_json("metrics.json") == {"jobs": 1}
    assert Path(files.location("metrics.json.damaged")).is_dir()


def test_write_json_replaces_numbers_that_are_not_finite(store: Store) -> None:
    files = store.files(a_run().id)
    files.write_json("instances.json", {"cost_usd": float("nan"), "rest": [1.5, float("inf")]})
    assert files.load("instances.json", dict[str, object]) == {
        "cost_usd": None,
        "rest": [1.5, None],
    }


def test_read_json_returns_printable_document(store: Store) -> None:
    files = store.files(a_run().id)
    files.write("result.json", b'{"a": NaN, "b": 1e999, "c": 12345678901234567890, "d": "\\ud800"}')
    assert files.read_json("result.json") == {
        "a": None,
        "b": None,
        "c": 12345678901234567890.0,
        "d": "?",
    }
    for body in (b'{"a": ' * 99 + b"1" + b"}" * 99, b"[" * 100_000, b"", b"\xff"):
        files.write("result.json", body)
        assert files.read_json("result.json") is None


def test_damaged_files_are_reported_up_to_a_limit(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(100, 150):
        store.files(f"20261120-{number}-svm-0000").write("run.json", b"")
    assert store.all() == []
    assert len(caplog.records) == 21
    assert "more files cannot be read" in caplog.records[-1].getMessage()
    assert len(store.damaged.records) == 50


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
    assert len({key.partition("/")[0] for key in reads}) <= 32
    assert store.load("latest").id[9:12] == "199"


def test_load_ignores_unknown_fields_of_later_versions(store: Store) -> None:
    store.save(a_run())
    record = store.files(a_run().id).read_json("run.json") or {}
    store.files(a_run().id).write_json("run.json", {**record, "later": 1})
    assert store.load(a_run().id) == a_run()


def test_all_reads_record_that_was_edited_in_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit in place changes the file, not its folder."""
    monkeypatch.setattr(RunIndex, "SETTLED_S", -1e9)
    monkeypatch.setattr(RunIndex, "SLACK", 0)
    store.save(a_run(state="COMPLETED"))
    assert len(store.all()) == 1
    Path(store.files(a_run().id).location("run.json")).write_bytes(b"")
    assert store.all() == []


def test_s3_store_reports_damaged_records(mocked: Target) -> None:
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="pets-runs")
    store = Store(S3Storage(s3, "pets-runs"))
    store.save(a_run())
    for run_id, body in ((BAD, b"{"), (f"{BAD}1", b"\xff"), (f"{BAD}2", b"[" * 100_000)):
        s3.put_object(Bucket="pets-runs", Key=f"runs/{run_id}/run.json", Body=body)
    assert store.all() == [a_run()]
    assert sorted(store.damaged.records) == [BAD, f"{BAD}1", f"{BAD}2"]
    with pytest.raises(DamagedFileError, match="s3://pets-runs/runs/"):
        store.load(BAD)


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
