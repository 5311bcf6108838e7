"""Ends what a killed emulator leaves behind: `python -m emrctl.emulator.server.reaper ID`.

It sleeps until its input ends, which is when the emulator has, however that happened.
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
    """While inside, a warden watches this process; it has nothing to do where one comes out."""
    with (home / "emulator.log").open("ab") as log:
        made = processes.spawn(
            [sys.executable, "-m", "emrctl.emulator.server.reaper", emulator_id],
            stdin=subprocess.PIPE,  # ours to the end: that it closes is what the warden waits for
            stdout=log,
            stderr=log,
        )
    try:
        yield made
    finally:
        made.kill()
        made.communicate()


def main() -> int:
    """The emulator has gone, and nothing of it runs any more."""
    sys.stdin.buffer.read()
    processes.kill_marked(processes.EMULATOR_MARK, sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
