from __future__ import annotations

import json
from pathlib import Path

import pytest

from emrctl.cli import render
from emrctl.cli.__main__ import main
from emrctl.compare.comparison import NO_RESULTS_NOTE, compare
from emrctl.compare.history import table_prior
from emrctl.compare.records import find_reference
from emrctl.compare.timings import Columns, read
from emrctl.errors import NotFoundError, UsageError

TABLE = """machine,count,input,seconds
m5,2,a,100.2
m5,2,a,101.1
m5,2,a,99.5
m5,4,a,60.1
m5,4,a,61.4
m5,4,a,60.7
m5,4,b,600
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "times.csv"
    path.write_text(TABLE)
    return path


def columns(time: str = "seconds", by: tuple[str, ...] = (), **where: str) -> Columns:
    return Columns(time=time, by=by, where=where)


def test_read_makes_a_record_of_each_selected_row(table: Path) -> None:
    records = read(table, columns(by=("machine", "count"), input="a"))
    assert [record.duration_s for record in records] == [100.2, 101.1, 99.5, 60.1, 61.4, 60.7]
    assert (records[0].id, records[0].label) == ("times.csv:2", "machine=m5, count=2")
    assert records[0].traits() == {"machine": "m5", "count": "2"}


def test_compare_of_a_table_has_verdicts_and_no_notes_on_runs(table: Path) -> None:
    records = read(table, columns(input="a"))
    comparison = compare(records, prior=table_prior(records, "times.csv"))
    assert comparison.outcomes == (None, "faster")
    assert NO_RESULTS_NOTE not in comparison.notes
    assert [note for note in comparison.notes if "event log" in note] == []
    assert comparison.prior is not None
    assert comparison.prior.groups == 2
    assert [row.name for row in comparison.settings] == ["count"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa\tseconds\n1\t2.5\n\n1\t2.6\n",
        "a;seconds\n1;2.5\n1;2.6",
        '"a","seconds"\r\n"1"," 2.5 "\r\n1,2.6\r\n',
    ],
)
def test_read_accepts_tabs_semicolons_and_quotes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.txt"
    path.write_text(text, newline="")
    assert [record.duration_s for record in read(path, columns())] == [2.5, 2.6]


@pytest.mark.parametrize(
    ("text", "chosen", "message"),
    [
        ("a,seconds\n1,x\n", columns(), "t.csv, line 2: seconds is 'x', not a number"),
        ("a,seconds\n1,2\n\n1,\n", columns(), "t.csv, line 4: seconds is '', not a number"),
        ("a,seconds\n1,0\n", columns(), "t.csv, line 2: seconds is 0; a time must be above 0"),
        ("a,seconds\n1,-3\n", columns(), "line 2: seconds is -3"),
        ("a,seconds\n1,nan\n", columns(), "line 2: seconds is nan"),
        ("a,seconds\n1,1e308\n", columns(), "line 2: seconds is 1e308; .* at most 1e"),
        ("a,seconds\n1,5e-324\n", columns(), "line 2: seconds is 5e-324"),
        ("a,seconds\n1,2,3\n", columns(), "line 2: 3 cells, the header has 2"),
        ('a,seconds\n1,"2\n', columns(), "t.csv, line 2: "),
        ("a,seconds\n1,2\n", columns(time="time"), "has no column 'time'"),
        ("a,a,seconds\n1,1,2\n", columns(by=("a",)), "has more than one column 'a'"),
        ("a,a,seconds\n1,2,2\n", columns(), "has more than one column 'a'"),
        ("a,b,seconds\n1,1,2\n", columns(a="9"), "has no rows with a=9"),
        ("a,seconds\n1,2\n", columns(by=("a", "seconds")), "'seconds' is the column of the time"),
        ("a,seconds\n1,2\n", columns(by=("a", "a")), "column 'a' is given twice"),
        ("seconds\n1\n", columns(), "has no column but seconds"),
        ("a,seconds\n", columns(), "has no rows"),
        ("", columns(), "has no column 'seconds'"),
    ],
)
def test_read_names_file_and_line_of_invalid_rows(
    tmp_path: Path, text: str, chosen: Columns, message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read(path, chosen)


def test_read_keeps_characters_that_are_no_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,seconds\n"x\u2028\x0by",1\n')
    assert read(path, columns())[0].settings == {"a": "x\u2028\x0by"}


def test_compare_of_a_table_prints_cells_as_plain_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    # The console for a terminal must not be kept for other tests.
    monkeypatch.setattr(render, "output", render.output.__wrapped__)
    path = tmp_path / "t.csv"
    path.write_text("[bold]m,seconds\n[/red],1\n\x1b]0;title\x07,2\n")
    with pytest.raises(SystemExit) as caught:
        main(["compare", "--table", str(path), "--time", "seconds"])
    printed = capsys.readouterr().out
    assert caught.value.code == 0
    assert "[bold]m" in printed
    assert "[/red]" in printed
    assert "\x1b]0" not in printed
    assert "\x07" not in printed


def test_read_of_a_missing_or_binary_file_fails(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read(tmp_path / "missing.csv", columns())
    (tmp_path / "b.csv").write_bytes(b"a,b\n\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read(tmp_path / "b.csv", columns())


def test_find_reference_accepts_label_id_and_settings(table: Path) -> None:
    records = read(table, columns())
    assert find_reference(records, "count=4") == 3
    assert find_reference(records, "count=4, input=b") == 6
    assert find_reference(records, "machine=m5, count=4, input=a") == 3
    assert find_reference(records, "times.csv:4") == 2
    with pytest.raises(NotFoundError, match="no configuration is called 'count=7'") as caught:
        find_reference(records, "count=7")
    assert "machine=m5, count=2, input=a" in caught.value.hint


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["compare", *words])
    out, err = capsys.readouterr()
    code = caught.value.code
    return (code if isinstance(code, int) else 0), out, err


def test_compare_command_reads_a_table(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--table", str(table), "--time", "seconds", "--where", "input=a")
    code, out, _ = run(capsys, *words, "--json", "--reference", "count=4")
    document = json.loads(out)
    assert (code, document["reference"]) == (0, "machine=m5, count=4")
    assert [item["outcome"] for item in document["configurations"]] == ["slower", None]
    assert document["prior"]["groups"] == 2
    assert run(capsys, *words, "--fail-if", "duration_s:10%")[0] == 0
    assert run(capsys, *words, "--reference", "count=4", "--fail-if", "duration_s:10%")[0] == 8
    assert run(capsys, *words, "--csv")[1].startswith("configuration,kind,")
    assert "| duration |" in run(capsys, *words, "--md")[1]


@pytest.mark.parametrize(
    "words",
    [
        ("--table", "TABLE"),
        ("--time", "seconds", "run"),
        ("--table", "TABLE", "--time", "seconds", "run"),
        ("--table", "TABLE", "--time", "seconds", "--experiment", "x"),
        ("--table", "TABLE", "--time", "seconds", "--json", "--csv"),
        ("--table", "TABLE", "--time", "seconds", "--where", "input"),
    ],
)
def test_compare_command_rejects_contradicting_options(
    table: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *(str(table) if word == "TABLE" else word for word in words))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
