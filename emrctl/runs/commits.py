"""The git commit of a job's code, for the record of its runs.

Addresses of remotes, which may contain passwords, are not read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 5.0
_OID = "# branch.oid "
# The file system monitor is a program that the repository names.
_GIT = ("git", "-c", "core.fsmonitor=false")


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The commit that is checked out.

    `dirty` means that tracked files in the folder of the job differ from it.
    """

    id: str
    dirty: bool = False

    def __str__(self) -> str:
        """Return the commit's id, and whether files differ."""
        return f"{self.id}{' with uncommitted changes' if self.dirty else ''}"


def find_commit(script: Path) -> Commit | None:
    """Return the commit of a script's folder.

    None if the script is not tracked, there is no commit yet, or git is not installed or fails.
    """
    if _git(script.parent, "ls-files", "--error-unmatch", "--", script.name) is None:
        return None
    text = _git(
        script.parent, "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--", "."
    )
    lines = (text or "").splitlines()
    found = [line.removeprefix(_OID) for line in lines if line.startswith(_OID)]
    if not found or found == ["(initial)"]:
        return None
    return Commit(id=found[0], dirty=any(not line.startswith("#") for line in lines))


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command in a folder; None if it fails."""
    import subprocess

    try:
        done = subprocess.run(
            [*_GIT, *arguments],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
