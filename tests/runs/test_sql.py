"""The store in SQL, and event logs of others in the store."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from emrctl.compare import records
from emrctl.compare.comparison import compare
from emrctl.errors import UsageError
from emrctl.metrics.eventlog import layout, reader
from emrctl.runs import import_logs, lifecycle, pull
from emrctl.runs import sql as runs_sql
from emrctl.runs.workspace import Workspace
from emrctl.spec import ProjectSpec
from emrctl.spec.config import Config
from tests.event_logs import RECORDED, SAMPLE, text_of
from tests.runs import command

WELL, ILL = SAMPLE, RECORDED / "idle_executors.ill.zstd"
WELL_ID, ILL_ID = "local-1795797558469", "app-20261120112534-0000"
Emrctl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Config(ProjectSpec(project="pets"), tmp_path, {}))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two event logs and a file that is not one."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for path in (WELL, ILL):
        shutil.copy(path, folder)
    (folder / "notes.txt").write_text("no log\n")
    return folder


@pytest.fixture
def filled(workspace: Workspace, logs: Path) -> Workspace:
    list(import_logs.import_files(workspace, layout.list_files(logs), remote=False))
    return workspace


def test_import_files_creates_finished_runs_once(workspace: Workspace, logs: Path) -> None:
    first = list(import_logs.import_files(workspace, layout.list_files(logs), remote=False))
    assert [item.known for item in first] == [False, False, False]
    assert [item.name for item in first if item.run is None] == ["notes.txt"]
    assert "no line has an Event key" in next(item.reason for item in first if not item.run)
    again = list(import_logs.import_files(workspace, layout.list_files(logs), remote=True))
    assert [item.known for item in again if item.run] == [True, True]
    stored = workspace.store.all()
    assert [run.application_id for run in stored] == [ILL_ID, WELL_ID]
    assert {(run.target, run.state, run.cost_usd) for run in stored} == {
        ("imported", "COMPLETED", None)
    }
    assert stored[0].settings["partitions"] == "2"
    assert stored[0].duration_s == pytest.approx(24.642, abs=0.1)
    assert workspace.store.files(stored[1].id).names("eventlog/") == [WELL.name]
    assert lifecycle.refresh(workspace, stored[0]) == stored[0]


def test_describe_imported_run_has_metrics_of_log(filled: Workspace) -> None:
    run = filled.store.load(filled.store.ids()[0])
    found = lifecycle.describe(filled, run)
    assert found["metrics"]["app_id"] == ILL_ID
    assert {item["kind"] for item in found["findings"]} >= {"few_partitions"}
    assert found["nodes"] == []
    with pytest.raises(UsageError, match="was imported"):
        pull.repeat(filled, run)


def test_import_of_cut_or_failed_log_is_failed_run(workspace: Workspace, tmp_path: Path) -> None:
    cut = tmp_path / "app"
    cut.write_bytes(text_of(WELL)[:400_000])
    failed = RECORDED / "memory_short.ill.zstd"
    for path in (cut, failed):
        list(import_logs.import_files(workspace, layout.list_files(path), remote=False))
    first, second = workspace.store.all()
    assert (first.state, second.state) == ("FAILED", "FAILED")
    assert str(first.failure).startswith("1 of 1 jobs failed: Job aborted due to stage failure")
    assert second.failure == "the log has no end of the application"


def test_import_of_grown_log_replaces_run(workspace: Workspace, tmp_path: Path) -> None:
    text = text_of(WELL)
    lines = text.splitlines(keepends=True)
    parts = (("app.inprogress", 40), ("app.inprogress", len(lines) - 1), ("app", len(lines)))
    runs = []
    for name, count in (*parts, parts[0]):
        shutil.rmtree(tmp_path / "log", ignore_errors=True)
        (tmp_path / "log").mkdir()
        (tmp_path / "log" / name).write_bytes(b"".join(lines[:count]))
        files = layout.list_files(tmp_path / "log")
        [imported] = import_logs.import_files(workspace, files, remote=False)
        assert imported.run is not None
        runs.append((imported.run.state, imported.known, imported.grown))
    assert runs == [
        ("FAILED", False, False),
        ("FAILED", True, True),
        ("COMPLETED", True, True),
        ("COMPLETED", True, False),  # an older copy of the log changes nothing
    ]
    [run] = workspace.store.all()
    assert (run.failure, run.ended is None) == (None, False)
    assert workspace.store.files(run.id).names("eventlog/") == ["app"]
    [metrics] = reader.read_logs(layout.list_files(WELL))
    assert workspace.store.files(run.id).read_json("metrics.json") == metrics.to_json()


def test_import_of_folder_with_unfinished_and_finished_log_is_one_run(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    (folder / "app").write_bytes(text_of(WELL))
    (folder / "app.inprogress").write_bytes(text_of(WELL)[:400_000])
    list(import_logs.import_files(workspace, layout.list_files(folder), remote=False))
    assert [run.state for run in workspace.store.all()] == ["COMPLETED"]


def test_imported_logs_are_repeats_only_with_equal_properties(
    workspace: Workspace, tmp_path: Path
) -> None:
    start = b'"Spark Properties":{'
    text = text_of(WELL)
    assert text.count(start) == 1
    for number, value in enumerate((b"8m", b"16m", b"8m")):
        properties = b'"spark.kryoserializer.buffer":"%s","spark.driver.port":"%d",'
        log = text.replace(start, start + properties % (value, 4000 + number))
        (tmp_path / f"app-{number}").write_bytes(
            log.replace(WELL_ID.encode(), f"app-20261127101112-{number:04d}".encode())
        )
        files = layout.list_files(tmp_path / f"app-{number}")
        list(import_logs.import_files(workspace, files, remote=False))
    runs = workspace.store.all()
    assert len(runs) == 3
    found = compare([records.load_record(workspace, run) for run in runs])
    assert sorted(len(one.records) for one in found.configurations) == [1, 2]
    [row] = found.settings
    assert row.name == "conf.spark.kryoserializer.buffer"
    assert set(row.values) == {"8m", "16m"}


def test_imported_logs_with_other_arguments_are_no_repeats(
    workspace: Workspace, tmp_path: Path
) -> None:
    start = b'"Spark Properties":{'
    for number in range(3):
        command = b"org.apache.spark.deploy.SparkSubmit --master yarn a.py --scale %d" % (
            number % 2
        )
        system = b'"System Properties":{"sun.java.command":"%s"},' % command
        log = text_of(WELL).replace(start, system + start)
        name = f"app-20261127101112-{number:04d}"
        (tmp_path / name).write_bytes(log.replace(WELL_ID.encode(), name.encode()))
        list(import_logs.import_files(workspace, layout.list_files(tmp_path / name), remote=False))
    runs = workspace.store.all()
    assert {run.code for run in runs} == {("a.py",)}
    found = compare([records.load_record(workspace, run) for run in runs])
    assert sorted(len(one.records) for one in found.configurations) == [1, 2]
    assert [row.name for row in found.settings] == ["arguments"]


def test_safe_name_drops_parent_folders() -> None:
    assert import_logs._safe_name("../../etc/./passwd") == "etc/passwd"


def test_query_reads_all_tables(filled: Workspace) -> None:
    answer = runs_sql.query(filled.store, "select state, tasks_ok from runs order by tasks_ok")
    assert answer.columns == ("state", "tasks_ok")
    assert answer.rows == (("COMPLETED", 1), ("COMPLETED", 87))
    joined = runs_sql.query(
        filled.store,
        "select count(*), sum(s.tasks_ok) from stages s join runs r using (run) "
        "where r.application_id = 'local-1795797558469'",
    )
    assert joined.rows == ((18, 87),)
    rows = runs_sql.query(filled.store, "select id, lifetime_s > 0 from executors where cores > 0")
    assert ("1", True) in rows.rows
    kinds = runs_sql.query(filled.store, "select kind from findings where severity <> 'low'").rows
    assert ("few_partitions",) in kinds
    settings = runs_sql.query(filled.store, "select settings->>'partitions' from runs").rows
    assert ("2",) in settings


def test_query_of_empty_store_has_all_tables(workspace: Workspace) -> None:
    assert runs_sql.query(workspace.store, "select count(*) from findings").rows == ((0,),)
    assert runs_sql.query(workspace.store, "describe stages").rows


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("drop table runs", "one SELECT"),
        ("select 1; select 2", "one SELECT"),
        ("insert into runs (run) values ('x')", "one SELECT"),
        ("attach '/tmp/x.db'", "one SELECT"),
        ("", "one SELECT"),
        ("select * from read_csv('/etc/passwd')", "disabled"),
        ("select * from '/etc/passwd'", "disabled|does not exist"),
        ("selec 1", "syntax error"),
        ("select nothing from runs", "not found"),
    ],
)
def test_query_rejects_anything_but_select(workspace: Workspace, sql: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        runs_sql.query(workspace.store, sql)


@pytest.fixture
def emrctl(tmp_path: Path) -> Emrctl:
    (tmp_path / "emrctl.yaml").write_text("project: pets\n")
    return functools.partial(command.emrctl, tmp_path)


def test_commands_import_and_query(emrctl: Emrctl, logs: Path) -> None:
    code, out, err = emrctl("runs", "import", str(logs), "--json")
    assert code == 0
    assert len(json.loads(out)) == 2
    assert "notes.txt" in err
    sql = "select state, count(*) as runs from runs group by state"
    assert json.loads(emrctl("runs", "query", sql, "--json")[1]) == [
        {"state": "COMPLETED", "runs": 2}
    ]
    assert emrctl("runs", "query", sql, "--csv")[1] == "state,runs\nCOMPLETED,2\n"
    assert "COMPLETED" in emrctl("runs", "query", sql)[1]
    assert emrctl("runs", "query", "delete from runs")[0] == 2
    code, out, _ = emrctl("runs", "show", "112534", "--json")
    assert code == 3
    code, out, _ = emrctl("runs", "show", "latest")
    assert (code, "No findings." in out) == (0, True)
    code, out, _ = emrctl("top", "latest", "--once")
    assert (code, "COMPLETED" in out) == (0, True)
    code, _, err = emrctl("runs", "import", str(logs / "notes.txt"))
    assert (code, "no event log" in err) == (2, True)
    assert emrctl("runs", "import", "nothing")[0] == 3


def test_command_query_of_findings(emrctl: Emrctl) -> None:
    code, out, _ = emrctl("metrics", str(ILL), "--findings")
    assert code == 0
    assert "few_partitions" in out
    found = json.loads(emrctl("metrics", str(ILL), "--findings", "--json")[1])["findings"]
    assert {item["kind"] for item in found} == {
        "few_partitions",
        "idle_executors",
    }
    assert "No findings." in emrctl("metrics", str(WELL), "--findings")[1]
