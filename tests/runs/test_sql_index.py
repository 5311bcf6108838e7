"""The index of SQL queries: what is read, changes, other clients, damage and crashes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.errors import UsageError
from emrctl.runs import sql as runs_sql
from emrctl.runs import sql_rows
from emrctl.runs.index import RunIndex
from emrctl.runs.sql_index import TableIndex
from emrctl.runs.storage import LocalStorage, S3Storage
from emrctl.runs.store import Store
from tests import facts

COUNT = 40


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Index runs that have just been stored."""
    monkeypatch.setattr(RunIndex, "SETTLED_S", -1e9)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(LocalStorage(tmp_path / "runs"))
    for number in range(COUNT):
        save(store, number)
    return store


def save(store: Store, number: int, state: str = "COMPLETED", tasks: int = 1) -> str:
    """Store a run with metrics and return its id."""
    run = replace(facts.RUN, id=f"20261120-{number:06}-svm-0000", state=state)
    stage = {"id": 0, "tasks_ok": tasks, "duration_ms_quantiles": None}
    metrics = {"app_id": f"a{number}", "tasks_ok": tasks, "stages": [stage]}
    store.files(run.id).write_json("metrics.json", metrics)
    store.save(run)
    return run.id


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    return list(runs_sql.query(store, sql).rows)


def total(store: Store) -> tuple[object, ...]:
    sql = "select count(*), sum(r.tasks_ok), sum(s.tasks_ok) from runs r join stages s using (run)"
    [row] = rows(store, sql)
    return row


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all files that are read."""
    keys: list[str] = []
    read = LocalStorage.read

    def record(self: LocalStorage, key: str) -> bytes | None:
        keys.append(key)
        return read(self, key)

    monkeypatch.setattr(LocalStorage, "read", record)
    return keys


def test_second_query_reads_no_file_of_a_run(store: Store, reads: list[str]) -> None:
    assert total(store) == (COUNT, COUNT, COUNT)
    assert reads
    reads.clear()
    assert total(store) == (COUNT, COUNT, COUNT)
    assert rows(store, "select count(*) from runs") == [(COUNT,)]
    assert reads == []


def test_query_without_findings_does_not_diagnose(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emrctl.metrics import findings

    calls: list[object] = []

    def diagnose(run: object, _limits: object) -> tuple[()]:
        calls.append(run)
        return ()

    monkeypatch.setattr(findings, "diagnose", diagnose)
    assert rows(store, "select count(*) from runs") == [(COUNT,)]
    assert calls == []
    rows(store, "select count(*) from findings")
    assert len(calls) == COUNT
    rows(store, "select count(*) from findings")
    assert len(calls) == COUNT
    runs_sql.query(store, "select count(*) from findings", lambda: {"gc_share": 0.5})
    assert len(calls) == 2 * COUNT  # other thresholds, other findings


def test_second_query_of_runs_needs_neither_findings_nor_their_thresholds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing the rules takes longer than the query, as does validating emrctl.yaml."""
    rows(store, "select count(*) from runs")
    monkeypatch.setattr(sql_rows, "columns", lambda: 1 / 0)
    result = runs_sql.query(store, "select count(*) from runs", lambda: {"gc_share": 1 / 0})
    assert result.rows == ((COUNT,),)
    assert rows(store, "describe findings")


def test_query_sees_new_changed_and_deleted_runs(store: Store, reads: list[str]) -> None:
    assert total(store) == (COUNT, COUNT, COUNT)
    new = save(store, 100, tasks=1000)
    changed = save(store, 0, tasks=100)
    shutil.rmtree(Path(store.files("20261120-000001-svm-0000").location()))
    reads.clear()
    assert total(store) == (COUNT, COUNT + 1098, COUNT + 1098)
    assert {key.partition("/")[0] for key in reads} == {new, changed}
    store.tag(changed, {"a": "b"})
    assert rows(store, "select tags->>'a' from runs where tasks_ok = 100") == [("b",)]


def test_query_sees_unfinished_run_finish(store: Store) -> None:
    save(store, 100, state="RUNNING")
    assert rows(store, "select state from runs where run like '%100-%'") == [("RUNNING",)]
    save(store, 100)
    assert rows(store, "select state from runs where run like '%100-%'") == [("COMPLETED",)]


def test_changes_are_merged_into_one_segment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunIndex, "SLACK", 0)
    monkeypatch.setattr(TableIndex, "MAX_SEGMENTS", 3)
    for number in range(100, 108):
        save(store, number)
        assert total(store)[0] == number - 99 + COUNT
    folder = runs_sql.index_folder(store) / "runs"
    old = [*folder.glob("*.runs.parquet")]
    for path in old:
        os.utime(path, (0, 0))
    for number in range(108, 114):
        save(store, number)
        total(store)
    assert len([*folder.glob("*.runs.parquet")]) < 14
    assert total(store) == (COUNT + 14, COUNT + 14, COUNT + 14)


@pytest.mark.parametrize("lost", ["manifest.msgpack", "*.runs.parquet", "*"])
def test_damaged_index_is_rebuilt(store: Store, lost: str) -> None:
    assert total(store) == (COUNT, COUNT, COUNT)
    folder = runs_sql.index_folder(store) / "runs"
    assert [*folder.glob(lost)]
    for path in folder.glob(lost):
        path.write_bytes(b"PAR1")
    assert total(store) == (COUNT, COUNT, COUNT)
    for path in folder.glob(lost):
        path.unlink()
    assert total(store) == (COUNT, COUNT, COUNT)


def test_index_with_damaged_pages_is_rebuilt(store: Store) -> None:
    assert total(store) == (COUNT, COUNT, COUNT)
    for path in (runs_sql.index_folder(store) / "runs").glob("*.parquet"):
        body = path.read_bytes()
        path.write_bytes(body[:4] + bytes(len(body) // 2) + body[4 + len(body) // 2 :])
    assert total(store) == (COUNT, COUNT, COUNT)


def test_index_of_other_code_is_rebuilt(
    store: Store, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    total(store)
    reads.clear()
    monkeypatch.setattr(runs_sql, "_code_version", lambda: "another")
    assert total(store) == (COUNT, COUNT, COUNT)
    assert reads


def test_query_killed_before_the_manifest_is_repeated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment of a client that is killed is in no manifest."""

    def killed(_self: TableIndex, _manifest: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TableIndex, "_save", killed)
        with pytest.raises(KeyboardInterrupt):
            total(store)
    folder = runs_sql.index_folder(store) / "runs"
    assert [*folder.glob("*.parquet")]
    assert total(store) == (COUNT, COUNT, COUNT)


def test_two_clients_that_index_at_once_both_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest of the second client replaces that of the first."""
    save_manifest: Callable[..., None] = TableIndex._save
    other: list[tuple[object, ...]] = []

    def second_first(self: TableIndex, manifest: object) -> None:
        if not other:
            other.append((0,))
            other.append(total(Store(store.storage)))
        save_manifest(self, manifest)

    monkeypatch.setattr(TableIndex, "_save", second_first)
    assert total(store) == (COUNT, COUNT, COUNT)
    assert other[1] == (COUNT, COUNT, COUNT)
    assert total(store) == (COUNT, COUNT, COUNT)


def test_query_of_store_that_cannot_be_written_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TableIndex, "_save", full)
    assert total(store) == (COUNT, COUNT, COUNT)


def test_run_that_has_no_rows_is_named_and_others_are_queried(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emrctl.runs import sql_rows

    facts_of = sql_rows.facts

    def bad(run: object, metrics: object, result: object) -> object:
        found = facts_of(run, metrics, result)  # type: ignore[arg-type]
        if found["runs"][0]["run"].endswith("000007-svm-0000"):
            found["runs"][0]["created"] = "yesterday"
        return found

    monkeypatch.setattr(sql_rows, "facts", bad)
    assert rows(store, "select count(*) from runs") == [(COUNT - 1,)]
    assert "000007-svm-0000: it has no rows in SQL" in caplog.text


def test_index_is_private(store: Store) -> None:
    total(store)
    folder = runs_sql.index_folder(store) / "runs"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_query_cannot_read_files_beside_the_index(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    total(store)
    for path in (tmp_path / "secret.csv", Path(store.files("x").location()) / "run.json"):
        with pytest.raises(UsageError, match="disabled"):
            runs_sql.query(store, f"from read_csv('{path}')")


def test_query_of_s3_store_reads_changed_runs_only(
    mocked: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "cache"))
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="pets-runs")
    store = Store(S3Storage(s3, "pets-runs"))
    for number in range(COUNT):
        save(store, number)
    assert total(store) == (COUNT, COUNT, COUNT)
    read: list[str] = []
    get = S3Storage.read

    def record(self: S3Storage, key: str) -> bytes | None:
        read.append(key)
        return get(self, key)

    monkeypatch.setattr(S3Storage, "read", record)
    assert total(store) == (COUNT, COUNT, COUNT)
    assert read == []
    changed = save(store, 3, tasks=5)
    read.clear()
    assert total(store) == (COUNT, COUNT + 4, COUNT + 4)
    assert {key.partition("/")[0] for key in read} == {changed}
