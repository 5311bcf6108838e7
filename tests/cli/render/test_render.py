"""Output of commands on stdout and stderr."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from emrctl.cli import render


class ClosedPipe(io.StringIO):
    """A stream whose reader has exited."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(len(text))


def test_note_on_closed_pipe_does_not_interrupt_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", ClosedPipe())
    render.note("deleting cluster main")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mean ± 2 %", "mean ± 2 %"),
        ("one\n\ttwo", "one\n\ttwo"),
        ("one\r\ntwo", "one\ntwo"),
        ("\x1b]0;title\x07red", "�]0;title�red"),
        ("a\u202eb\u200b", "a�b�"),
    ],
)
def test_texts_cannot_control_the_terminal(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render.visible(text) == shown
    render.line(text)
    render.note(text)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (f"{shown}\n", f"{shown}\n")


@pytest.mark.parametrize(
    ("columns", "rows", "right"),
    [
        (("run", "job", "seconds"), [("a", "bbbb", "1"), ("ccc", "", "22.5")], ("seconds",)),
        (("x",), [("",), ("[bold]a[/bold] b",)], ()),
        (("a b", "c"), [("1", "x" * 192)], ("a b", "c")),
    ],
)
def test_plain_table_equals_the_one_of_rich(
    columns: tuple[str, ...],
    rows: list[tuple[str, ...]],
    right: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    file = io.StringIO()
    console = Console(highlight=False, width=200, file=file)
    console.print(render.build_table(*columns, rows=rows, right=right))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert f"{render.plain_table(columns, rows, right)}\n" == file.getvalue()


@pytest.mark.parametrize("cell", ["größe", "a\tb", "a\nb", "x" * 200])
def test_plain_table_leaves_other_texts_and_wide_tables_to_rich(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert render.plain_table(("a", "b"), [("1", cell)], ()) is None
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert render.plain_table(("a", "b"), [("1", "2")], ()) is None
