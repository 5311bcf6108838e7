"""Runs commands of emrctl in the process of a test."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

from emrctl.cli.__main__ import main


class Answer(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def emrctl(root: Path, *arguments: str) -> Answer:
    """Run a command in a folder."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.chdir(root), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())
