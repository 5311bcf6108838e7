"""Output of commands on stdout and stderr."""

from __future__ import annotations

import io
import sys

import pytest

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
