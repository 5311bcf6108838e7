"""Kill what a dead emulator leaves behind: `python -m emrctl.emulator.server.reaper ID`.

It waits for the end of its input, which closes when the emulator exits for any reason.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from emrctl.emulator.server import processes


@contextlib.contextmanager
def watching(home: Path, emulator_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a reaper that watches this process; stop it at the end."""
    with (home / "emulator.log").open("ab") as log:
        reaper = processes.spawn(
            [sys.executable, "-m", "emrctl.emulator.server.reaper", emulator_id],
            stdin=subprocess.PIPE,  # open as long as this process runs
            stdout=log,
            stderr=log,
        )
    try:
        yield reaper
    finally:
        reaper.kill()
        reaper.communicate()


def main() -> int:
    """Wait for the emulator to exit, then kill its remaining processes."""
    sys.stdin.buffer.read()
    processes.kill_marked(processes.EMULATOR_MARK, sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
